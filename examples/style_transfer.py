"""A photograph in the style of another picture: the image itself is optimised (Gatys, Ecker and Bethge 2016).

What happens: a network looks at a content image and at a style image. Content is what each pixel of one layer says; style is which
channels of a layer are active together, wherever that is: the Gram matrix of its channels. An image that begins as the content
image goes down the gradient of both losses with respect to its pixels, first at a quarter of the size, then at half and all of it.

The network is VGG-19, from a file that you name (--weights), in the formats in which Keras and timm publish it:
vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5 (needs h5py), or a .safetensors file with features.0.weight and so on.
Without a file it has random filters, one convolution a scale: such networks carry textures (Ustyuzhaninov et al. 2016, "Texture
synthesis using shallow convolutional networks with random filters") and style (He, Wang and Hopcroft 2016, "A powerful
generative model using random weights for the deep image representation"). The seed draws them.

What to expect: style_transfer.png, an astronaut in the colours and strokes of a stained tissue: brown, blue and white, hatched like
an engraving. The style loss falls to 1/43.5, 1/40.5 and 1/37.5 of the content image's, and the content loss ends at 0.297, 0.308 and
0.320 of the style image's, with seeds 0, 1 and 2, at 256 x 256 pixels; with --quick (128 x 128) to 1/37.9, 1/37.1 and 1/35.5, and
0.304, 0.312 and 0.320. It takes 35 seconds on two cores of a Zen 5.
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

from cnnlite import initializers, layers, models

STYLE_LAYERS = [f"block{block}_conv1" for block in (1, 2, 3, 4, 5)]
CONTENT_WEIGHT = 0.25  # against the style loss, both as parts of what they are between the content image and the style image


class Network:
    """Layers as functions of an image (size, size, 3), RGB from 0 to 1; weights {"block1_conv1": (kernel, bias), ...}, in order.

    What the first layer sees is image * scale + shift.
    """

    def __init__(self, weights, scale, shift, content_layer):
        self.weights, self.content_layer = weights, content_layer
        self.scale, self.shift = np.float32(scale), np.float32(shift)
        self.names = list(dict.fromkeys([*STYLE_LAYERS, content_layer]))

    def resize(self, size):
        """From now on images are of this size."""
        self.model = models.Sequential([layers.Input((size, size, 3))])
        for name, (kernel, bias) in self.weights.items():
            if name > max(self.names):
                break
            if name.endswith("conv1") and self.model.layers:
                self.model.add(
                    layers.AveragePooling2D()
                )  # a smoother picture than with maxima, say Gatys et al.
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


def random_network(seed, widths=(64, 128, 128, 128, 128)):
    rng, weights, channels = np.random.default_rng(seed), {}, 3
    for name, width in zip(STYLE_LAYERS, widths, strict=True):
        weights[name] = initializers.Orthogonal()((3, 3, channels, width), rng=rng), np.zeros(width)
        channels = width
    return Network(weights, scale=1, shift=-0.5, content_layer="block3_conv1")


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
    return Network(weights, scale=255, shift=[-123.68, -116.779, -103.939], content_layer="block4_conv2")


def safetensors_network(path):
    """From a .safetensors file with torchvision's names: OIHW kernels for red, green and blue in ImageNet's mean and deviation."""
    data = (
        path.read_bytes()
    )  # 8 bytes: the length of a JSON header; the header; the arrays, at offsets counted from its end
    begin = 8 + int.from_bytes(data[:8], "little")
    weights, block, conv, before = {}, 1, 0, -2
    header = json.loads(data[8:begin])
    for key in sorted(
        (k for k in header if re.fullmatch(r"features\.\d+\.weight", k)), key=lambda k: int(k.split(".")[1])
    ):
        arrays = []
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
        number = int(
            key.split(".")[1]
        )  # convolution, ReLU, convolution: 2 further on; with a pool between them, 3
        block, conv = (block, conv + 1) if number - before == 2 else (block + 1, 1)
        before = number
        weights[f"block{block}_conv{conv}"] = arrays[0].transpose(2, 3, 1, 0), arrays[1]
    deviation = np.array([0.229, 0.224, 0.225])
    mean = np.array([0.485, 0.456, 0.406])
    return Network(weights, scale=1 / deviation, shift=-mean / deviation, content_layer="block4_conv2")


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
    return flat.T @ flat / len(flat)


def transfer(network, content, style, start, evaluations):
    """The image, its content loss as a part of the style image's, and its style loss as a part of the content image's."""
    of_content, of_style = network(content), network(style)
    wanted = {name: gram(of_style[name]) for name in STYLE_LAYERS}
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
        gradients = {network.content_layer: CONTENT_WEIGHT * 2 * difference / content_unit}
        for name, unit in style_units.items():
            output = outputs[name]
            off = gram(output) - wanted[name]
            style_loss += (off**2).sum() / unit
            # d/dF of sum((F'F / n - G)^2) is 4 F (F'F / n - G) / n
            gradients[name] = gradients.get(name, 0) + 4 * output @ off / (unit * output[..., 0].size)
        return content_loss, style_loss, gradients

    def total(flat):
        image = flat.reshape(content.shape).astype(np.float32)
        content_loss, style_loss, gradients = losses(image)
        bar.set_postfix_str(f"content {content_loss:.3f}, style 1/{1 / style_loss:.1f}")
        bar.update()
        # L-BFGS's first step is as long as the gradient: a thousand times the loss makes it some grey values
        gradient = network.gradient(gradients).ravel().astype(float)
        return 1000 * (CONTENT_WEIGHT * content_loss + style_loss), 1000 * gradient

    with tqdm(total=evaluations, desc=f"{len(content)} x {len(content)}", disable=None) as bar:
        options = {"maxfun": evaluations, "maxiter": evaluations, "ftol": 0, "gtol": 0}
        found = minimize(
            total, start.ravel(), jac=True, method="L-BFGS-B", bounds=[(0, 1)] * start.size, options=options
        )
    image = found.x.reshape(content.shape).astype(np.float32)
    return image, *losses(image)[:2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--content", default="astronaut", help="a file, or a picture of skimage.data")
    parser.add_argument(
        "--style", default="immunohistochemistry", help="a file, or a picture of skimage.data"
    )
    parser.add_argument("--weights", type=Path, help="VGG-19 as .h5 or .safetensors; default: random filters")
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--quick", action="store_true", help="128 x 128 pixels, style loss 10x down")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("."), help="for style_transfer.png")
    options = parser.parse_args()
    network = load_network(options.weights) if options.weights else random_network(options.seed)
    size, evaluations = (128, (20, 30, 50)) if options.quick else (options.size, (60, 80, 150))

    image = photograph(options.content, size // 4)
    for small, count in zip((size // 4, size // 2, size), evaluations, strict=True):
        network.resize(small)
        content, style = photograph(options.content, small), photograph(options.style, small)
        start = (
            np.asarray(
                Image.fromarray(np.uint8(255 * image)).resize((small, small), Image.Resampling.BICUBIC)
            )
            / 255
        )
        image, content_loss, style_loss = transfer(network, content, style, start, count)
    print(
        f"style loss: 1/{1 / style_loss:.1f} of the content image's; content loss: {content_loss:.3f} of the style image's"
    )

    options.out.mkdir(parents=True, exist_ok=True)
    picture = np.uint8(255 * np.hstack([content, style, image]))
    Image.fromarray(picture).save(options.out / "style_transfer.png")
    assert style_loss < (1 / 10 if options.quick else 1 / 20), "expected a style loss that falls further"
    assert content_loss < (0.4 if options.quick else 1 / 3), "expected more of the content left"


if __name__ == "__main__":
    main()
