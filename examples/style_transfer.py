"""A photograph in the style of another picture: the image itself is optimised (Gatys, Ecker and Bethge 2016).

What happens: a network looks at a content image and at a style image. Content is what each pixel of one layer says; style is which
channels of a layer are active together, wherever that is: the Gram matrix of its channels. An image that begins as the content
image goes down the gradient of both losses with respect to its pixels, first at a quarter of the size, then at half and all of it.

The network is VGG-19, from a file that you name (--weights), in the formats in which Keras and timm publish it:
vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 (needs h5py), or a .safetensors file with features.0.weight and so on.
Without a file, random filters look at the image: one convolution each at its full size, a half, a quarter and an eighth. Such
networks carry textures (Ustyuzhaninov et al. 2016, "Texture synthesis using shallow convolutional networks with random filters":
one convolution, filters of many sizes; here they have one size, and the image many). The seed draws the filters.

What to expect: style_transfer.png, a cat painted in the brown, white and blue of a stained tissue, and made of its cells. With seeds
0, 1 and 2 the style loss falls to 1/902, 1/779 and 1/844 of the content image's, and the content loss ends at 0.267, 0.237 and 0.244
of the style image's, at 256 x 256 pixels, in 8 seconds of processor time on a Zen 5. How it looks with VGG-19 we have not seen: its
file could not be had where this was written; the readers are tested with small files of the published names and layout.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from scipy.optimize import minimize
from tqdm import tqdm

import cnnlite_kernels as ck
from cnnlite import layers, models


class RandomFilters:
    """`width` filters of 5 x 5 pixels at each scale, as functions of an image (size, size, 3), RGB from 0 to 1.

    Their mean over the pixels is taken down to a tenth: they see edges and strokes first, and colours somewhat.
    """

    style_layers = 1, 2, 4, 8  # pixels whose mean is one to the filters
    content_layer = 4
    content_weight = (
        0.03  # of the content loss against the style loss, both as parts of what they are at the other image
    )

    def __init__(self, seed, width=64):
        rng, self.filters = np.random.default_rng(seed), {}
        for scale in self.style_layers:
            filters = rng.standard_normal((5, 5, 3, width), np.float32) / np.sqrt(5 * 5 * 3)
            self.filters[scale] = filters - 0.9 * filters.mean(axis=(0, 1))

    def resize(self, size):
        """From now on images are of this size."""
        self.models = {}
        for scale, filters in self.filters.items():
            model = models.Sequential([layers.Input((size, size, 3)), layers.AveragePooling2D(scale)])
            model.add(layers.Conv2D(filters.shape[-1], 5, padding="same", activation="relu", use_bias=False))
            model.set_weights([filters])
            model.trainable = False  # only the image is
            self.models[scale] = model

    def __call__(self, image):
        return {scale: model.forward((image - 0.5)[None])[0] for scale, model in self.models.items()}

    def gradient(self, gradients):
        """With respect to the image of the last call, from those with respect to its layers."""
        return sum(self.models[scale].backward(gradient[None])[0] for scale, gradient in gradients.items())


class VGG:
    """The same of a deep network; weights {"block1_conv1": (kernel, bias), ...}, in order.

    What the first layer sees is image * scale + shift.
    """

    style_layers = tuple(f"block{block}_conv1" for block in (1, 2, 3, 4, 5))
    content_layer = "block4_conv2"
    content_weight = 0.25

    def __init__(self, weights, scale, shift):
        self.weights = weights
        self.scale, self.shift = np.float32(scale), np.float32(shift)
        self.names = [*self.style_layers, self.content_layer]

    def resize(self, size):
        """From now on images are of this size."""
        self.model = models.Sequential([layers.Input((size, size, 3))])
        for name, (kernel, bias) in self.weights.items():
            if name > max(self.names):
                break
            if name.endswith("conv1") and self.model.layers:
                self.model.add(layers.AveragePooling2D())  # smoother than maxima, say Gatys et al.
            layer = layers.Conv2D(len(bias), kernel.shape[0], padding="same", activation="relu", name=name)
            self.model.add(layer)
            self.model.build()
            layer.set_weights([kernel, bias])
        self.model.trainable = False  # only the image is

    def __call__(self, image):
        outputs = self.model.forward((image * self.scale + self.shift)[None], outputs=self.names)
        return {name: output[0] for name, output in outputs.items()}

    def gradient(self, gradients):
        """With respect to the image of the last call, from those with respect to its layers."""
        return self.model.backward({name: g[None] for name, g in gradients.items()})[0] * self.scale


def keras_network(path):
    """From Keras's .h5: HWIO kernels for blue, green and red of 0 to 255, from which ImageNet's mean was taken."""
    import h5py

    weights = {}
    with h5py.File(path) as file:
        groups = file.get("model_weights", file)
        for name in sorted(groups):
            found = []
            if "conv" in name:
                groups[name].visititems(
                    lambda _, item, to=found: to.append(item[()]) if hasattr(item, "shape") else None
                )
                weights[name] = tuple(sorted(found, key=lambda array: -array.ndim))
    first, bias = weights["block1_conv1"]
    weights["block1_conv1"] = first[:, :, ::-1], bias
    return VGG(weights, scale=255, shift=[-123.68, -116.779, -103.939])


def safetensors_network(path):
    """From a .safetensors file with torchvision's names: OIHW kernels for red, green and blue in ImageNet's mean and deviation."""
    data = path.read_bytes()
    # 8 bytes: the length of a JSON header; the header; the arrays, at offsets counted from its end
    begin = 8 + int.from_bytes(data[:8], "little")
    weights, block, conv, before = {}, 1, 0, -2
    header = json.loads(data[8:begin])
    numbers = sorted(
        int(match[1]) for key in header if (match := re.fullmatch(r"features\.(\d+)\.weight", key))
    )
    for number in numbers:
        key, arrays = f"features.{number}.weight", []
        for name in (key, key.replace("weight", "bias")):
            if header[name]["dtype"] not in ("F32", "F16"):
                raise ValueError(f"{path}: expected F32 or F16, got {name} of {header[name]['dtype']}.")
            start, stop = (begin + offset for offset in header[name]["data_offsets"])
            dtype = "<f4" if header[name]["dtype"] == "F32" else "<f2"
            arrays.append(np.frombuffer(data[start:stop], dtype).reshape(header[name]["shape"]))
        if arrays[0].ndim != 4:
            raise ValueError(
                f"{path}: expected a VGG without batch normalization, got {key} of shape {arrays[0].shape}."
            )
        # convolution, ReLU, convolution: 2 further on; with a pool between them, 3
        block, conv = (block, conv + 1) if number - before == 2 else (block + 1, 1)
        before = number
        weights[f"block{block}_conv{conv}"] = arrays[0].transpose(2, 3, 1, 0), arrays[1]
    deviation = np.array([0.229, 0.224, 0.225])
    mean = np.array([0.485, 0.456, 0.406])
    return VGG(weights, scale=1 / deviation, shift=-mean / deviation)


def load_network(path):
    if path.suffix == ".h5":
        return keras_network(path)
    if path.suffix == ".safetensors":
        return safetensors_network(path)
    raise ValueError(
        f"{path}: expected a .h5 or .safetensors file; a .pth is a pickle, which may run any code when it is read. Convert it where "
        "you trust it: safetensors.torch.save_file(torchvision.models.vgg19(weights='DEFAULT').state_dict(), 'vgg19.safetensors')."
    )


def photograph(name, size):
    """A file, or a picture that scikit-image ships: its middle as (size, size, 3) from 0 to 1."""
    image = (
        Image.fromarray(getattr(skimage.data, name)()) if hasattr(skimage.data, name) else Image.open(name)
    )
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    image = image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS, box=box)
    return np.asarray(image, np.float32) / 255


def gram(output):
    """(channels, channels): how much two channels are active at the same pixels, on average."""
    flat = output.reshape(-1, output.shape[-1])
    return ck.matmul(flat, flat, transpose_a=True) / len(flat)


def gram_gradient(output, gradient):
    """d sum(gradient * gram(output)) / d output, for a symmetric gradient."""
    flat = output.reshape(-1, output.shape[-1])
    return (2 / len(flat) * ck.matmul(flat, gradient)).reshape(output.shape)


def transfer(network, content, style, start, evaluations):
    """The image, its content loss as a part of the style image's, and its style loss as a part of the content image's."""
    of_content, of_style = network(content), network(style)
    wanted = {name: gram(of_style[name]) for name in network.style_layers}
    aim = of_content[network.content_layer]
    content_unit = ((of_style[network.content_layer] - aim) ** 2).sum()
    style_units = {
        name: ((gram(of_content[name]) - wanted[name]) ** 2).sum() * len(wanted) for name in wanted
    }

    def losses(image):
        """(content loss, style loss) and the gradients of their weighted sum with respect to layers."""
        outputs = network(image)
        difference = outputs[network.content_layer] - aim
        content_loss, style_loss = (difference**2).sum() / content_unit, 0.0
        gradients = {network.content_layer: network.content_weight * 2 * difference / content_unit}
        for name, unit in style_units.items():
            off = gram(outputs[name]) - wanted[name]
            style_loss += (off**2).sum() / unit
            gradients[name] = gradients.get(name, 0) + gram_gradient(outputs[name], 2 * off / unit)
        return content_loss, style_loss, gradients

    def total(flat):
        image = flat.reshape(content.shape).astype(np.float32)
        content_loss, style_loss, gradients = losses(image)
        bar.set_postfix_str(f"content {content_loss:.3f}, style 1/{1 / style_loss:.1f}")
        bar.update()
        # L-BFGS's first step is as long as the gradient: a thousand times the loss makes it some grey values
        gradient = network.gradient(gradients).ravel().astype(float)
        return 1000 * (network.content_weight * content_loss + style_loss), 1000 * gradient

    with tqdm(total=evaluations, desc=f"{len(content)} x {len(content)}", disable=None) as bar:
        options = {"maxfun": evaluations, "maxiter": evaluations, "ftol": 0, "gtol": 0}
        found = minimize(
            total, start.ravel(), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * start.size, options=options
        )
    image = found.x.reshape(content.shape).astype(np.float32)
    return image, *losses(image)[:2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--content", default="chelsea", help="a file, or a picture of skimage.data")
    parser.add_argument(
        "--style", default="immunohistochemistry", help="a file, or a picture of skimage.data"
    )
    parser.add_argument("--weights", type=Path, help="VGG-19 as .h5 or .safetensors; default: random filters")
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--quick", action="store_true", help="192 x 192 pixels, fewer steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("."), help="for style_transfer.png")
    options = parser.parse_args()
    network = load_network(options.weights) if options.weights else RandomFilters(options.seed)
    size, evaluations = (192, (30, 30, 40)) if options.quick else (options.size, (60, 60, 60))

    image = photograph(options.content, size // 4)
    for small, count in zip((size // 4, size // 2, size), evaluations, strict=True):
        network.resize(small)
        content, style = photograph(options.content, small), photograph(options.style, small)
        start = Image.fromarray(np.uint8(255 * image)).resize((small, small), Image.Resampling.BICUBIC)
        start = np.asarray(start) / 255
        image, content_loss, style_loss = transfer(network, content, style, start, count)
    print(
        f"style loss: 1/{1 / style_loss:.1f} of the content image's; content loss: {content_loss:.3f} of the style image's"
    )

    options.out.mkdir(parents=True, exist_ok=True)
    picture = np.uint8(255 * np.hstack([content, style, image]))
    Image.fromarray(picture).save(options.out / "style_transfer.png")
    assert style_loss < 1 / 20, "expected a style loss that falls further"
    assert content_loss < (0.4 if options.quick else 1 / 3), "expected more of the content left"


if __name__ == "__main__":
    main()
