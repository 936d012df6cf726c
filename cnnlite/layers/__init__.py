"""The layers: one a file, with Keras's names, arguments and defaults."""

from cnnlite.layers.activation import Activation
from cnnlite.layers.conv2d import Conv2D
from cnnlite.layers.dense import Dense
from cnnlite.layers.dropout import Dropout
from cnnlite.layers.flatten import Flatten
from cnnlite.layers.input import Input
from cnnlite.layers.layer import Layer
from cnnlite.layers.max_pooling2d import MaxPooling2D

__all__ = ["Activation", "Conv2D", "Dense", "Dropout", "Flatten", "Input", "Layer", "MaxPooling2D"]
