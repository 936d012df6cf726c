"""The layers: one a file, with Keras's names, arguments and defaults."""

from cnnlite.layers.activation import Activation
from cnnlite.layers.add import Add
from cnnlite.layers.average_pooling2d import AveragePooling2D
from cnnlite.layers.batch_normalization import BatchNormalization
from cnnlite.layers.concatenate import Concatenate
from cnnlite.layers.conv2d import Conv2D
from cnnlite.layers.conv2d_transpose import Conv2DTranspose
from cnnlite.layers.cropping2d import Cropping2D
from cnnlite.layers.dense import Dense
from cnnlite.layers.depthwise_conv2d import DepthwiseConv2D
from cnnlite.layers.dropout import Dropout
from cnnlite.layers.flatten import Flatten
from cnnlite.layers.global_average_pooling2d import GlobalAveragePooling2D
from cnnlite.layers.global_max_pooling2d import GlobalMaxPooling2D
from cnnlite.layers.input import Input
from cnnlite.layers.layer import Layer
from cnnlite.layers.leaky_relu import LeakyReLU
from cnnlite.layers.max_pooling2d import MaxPooling2D
from cnnlite.layers.min_pooling2d import MinPooling2D
from cnnlite.layers.prelu import PReLU
from cnnlite.layers.relu import ReLU
from cnnlite.layers.reshape import Reshape
from cnnlite.layers.separable_conv2d import SeparableConv2D
from cnnlite.layers.softmax import Softmax
from cnnlite.layers.up_sampling2d import UpSampling2D
from cnnlite.layers.zero_padding2d import ZeroPadding2D

# Keras's short names, which its tutorials use as much
AvgPool2D = AveragePooling2D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalMaxPool2D = GlobalMaxPooling2D
MaxPool2D = MaxPooling2D

__all__ = [
    "Activation",
    "Add",
    "AveragePooling2D",
    "AvgPool2D",
    "BatchNormalization",
    "Concatenate",
    "Conv2D",
    "Conv2DTranspose",
    "Cropping2D",
    "Dense",
    "DepthwiseConv2D",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalAvgPool2D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling2D",
    "Input",
    "Layer",
    "LeakyReLU",
    "MaxPool2D",
    "MaxPooling2D",
    "MinPooling2D",
    "PReLU",
    "ReLU",
    "Reshape",
    "SeparableConv2D",
    "Softmax",
    "UpSampling2D",
    "ZeroPadding2D",
]
