"""What a network sees: why the documented network takes an image for what it takes it for, real images and generated ones.

What happens: the network of classify.py learns Fashion-MNIST. Four methods then say how much each pixel of an image speaks for
the class that the network names:
    saliency            |gradient| of the class's logit (Simonyan et al. 2014)
    gradient x image    the same with its sign, times the pixel: what is there, not what could be (Shrikumar et al. 2016)
    Grad-CAM            the last convolution's channels, each weighted with the logit's gradient (Selvaraju et al. 2017)
    occlusion           how far the logit falls when a patch is painted over (Zeiler and Fergus 2014)
A deletion curve (Petsiuk et al. 2018) tests them: pixels that are not background are blackened, those that speak most for the
class first, and the class's probability is watched. The smaller the area under the curve, the better the explanation; the
order of chance is what to beat. The same is done to images that a generator made: that of --generator, which gan.py or vae.py
saved, or else that of a small autoencoder. Last, activation maximisation climbs from grey to what the network likes best.

What to expect, from 500 images of each kind: areas smaller than that of chance by this much, with seeds 0, 1 and 2,

                        test images        generated images
    saliency            12%, 10%, 18%      12%, 15%, 19%
    gradient x image    52%, 45%, 38%      56%, 52%, 41%
    Grad-CAM            20%, 31%, 22%      35%, 35%, 23%
    occlusion           70%, 70%, 67%      81%, 85%, 79%

Saliency alone hardly beats chance, since it also marks what should be brighter. explain.png shows it all: red speaks for the class,
blue against it. It all takes 24 seconds on two cores of a Zen 5, most of them training.
"""

import argparse
from pathlib import Path

import numpy as np
from classify import NAMES, documented_network
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

import cnnlite
from cnnlite import datasets, layers, models

STEPS = 20  # of a deletion curve


def logit_network(model):
    """The network up to the logits, which speak for their own class alone; it shares all layers but the last one's copy."""
    logits = models.Sequential([*model.layers[:-1], layers.Dense(10)])
    logits.build()
    logits.layers[-1].set_weights(model.layers[-1].get_weights())
    return logits


def gradient(logits, images, classes):
    """The gradient of each image's logit of its class with respect to the image, (n, 28, 28, 1)."""
    logits.forward(images)
    return logits.backward(np.eye(10)[classes], weights=False)


def saliency(logits, images, classes):
    return np.abs(gradient(logits, images, classes))[..., 0]


def gradient_times_image(logits, images, classes):
    return (gradient(logits, images, classes) * images)[..., 0]


def grad_cam(logits, images, classes):
    last = max(i for i, layer in enumerate(logits.layers) if isinstance(layer, layers.Conv2D)) + 1
    features = models.Sequential(logits.layers[:last])
    head = models.Sequential([layers.Input(features.output_shape), *logits.layers[last:]])
    maps = features.predict(images)
    weights = gradient(head, maps, classes).mean(axis=(1, 2), keepdims=True)
    small = np.maximum((maps * weights).sum(axis=-1), 0)
    return np.stack([Image.fromarray(one).resize((28, 28), Image.Resampling.BICUBIC) for one in small])


def occlusion(logits, images, classes, size=4, stride=2):
    """Each pixel has the mean of what all patches over it cost."""
    rows = np.arange(len(images))
    before = logits.predict(images)[rows, classes]
    cost, patches = np.zeros((len(images), 28, 28)), np.zeros((28, 28))
    for top in tqdm(range(stride - size, 28, stride), "occlusion", disable=None):
        for left in range(stride - size, 28, stride):
            patch = np.s_[max(top, 0) : top + size, max(left, 0) : left + size]
            painted = images.copy()
            painted[:, patch[0], patch[1]] = 0
            cost[:, patch[0], patch[1]] += (before - logits.predict(painted)[rows, classes])[:, None, None]
            patches[patch] += 1
    return cost / patches


METHODS = {
    "saliency": saliency,
    "gradient x image": gradient_times_image,
    "Grad-CAM": grad_cam,
    "occlusion": occlusion,
}


def deletion_curve(model, images, classes, scores):
    """The mean probability of the class after 0, 1/STEPS, ... 1 of each image's pixels above 0 are blackened, highest score first."""
    pixels = images.reshape(len(images), -1)
    order = np.argsort(-np.where(pixels > 0, scores.reshape(pixels.shape), -np.inf), axis=1)
    place = np.argsort(order, axis=1)  # of each pixel in its image's order
    curve = []
    for share in np.linspace(0, 1, STEPS + 1):
        kept = place >= share * (pixels > 0).sum(axis=1, keepdims=True)
        left = np.where(kept, pixels, 0).reshape(images.shape)
        curve.append(model.predict(left)[np.arange(len(images)), classes].mean())
    return np.array(curve)


def explain(what, model, logits, images, rng):
    """Prints the areas under the deletion curves; returns the maps and curves of all methods."""
    classes = model.predict(images).argmax(axis=1)
    maps = {"chance": rng.random(images.shape[:3])}
    maps |= {name: method(logits, images, classes) for name, method in METHODS.items()}
    curves = {name: deletion_curve(model, images, classes, scores) for name, scores in maps.items()}
    areas = {name: (curve[1:] + curve[:-1]).mean() / 2 for name, curve in curves.items()}
    for name, area in areas.items():
        print(f"{what}, {name:>16}: area {area:.3f}, {1 - area / areas['chance']:.0%} below that of chance")
    return maps, curves, areas


def train_generator(images, epochs):
    """An autoencoder with a code of 16 numbers; what decodes it, and a normal distribution like that of the codes."""
    model = models.Sequential([layers.Input((28, 28, 1)), layers.Flatten()])
    for units, activation in ((256, "relu"), (16, None), (256, "relu"), (784, "sigmoid")):
        model.add(layers.Dense(units, activation=activation))
    model.compile("adam", "binary_crossentropy")
    model.fit(images, images.reshape(-1, 784), epochs=epochs, batch_size=128)
    codes = models.Sequential(model.layers[:3]).predict(images)
    decoder = models.Sequential([layers.Input((16,)), *model.layers[3:], layers.Reshape((28, 28, 1))])
    return decoder, codes.mean(axis=0), np.cov(codes.T)


def generated(file, images, count, epochs, rng):
    """Images (count, 28, 28, 1) from 0 to 1, drawn from a generator."""
    if file is None:
        decoder, mean, covariance = train_generator(images, epochs)
    else:
        decoder = models.load_model(file)
        mean, covariance = np.zeros(decoder.input_shape), np.eye(*decoder.input_shape)
    made = decoder.predict(rng.multivariate_normal(mean, covariance, count))
    last = decoder.layers[-1].get_config().get("activation")
    if last == "tanh":  # gan.py
        made = (made + 1) / 2
    elif last == "linear":  # vae.py
        made = 1 / (1 + np.exp(-made))
    return np.where(made < 0.05, 0, made).astype(np.float32)  # what is nearly black is background


def most_liked(logits, rng, steps):
    """Activation maximisation: one image a class, by gradient ascent on its logit, blurred and faded a little at each step."""
    images = (0.1 * rng.random((10, 28, 28, 1))).astype(np.float32)
    for _ in tqdm(range(steps), "activation maximisation", disable=None):
        slope = gradient(logits, images, np.arange(10))
        images += slope / np.sqrt((slope**2).sum(axis=(1, 2, 3), keepdims=True))
        neighbours = sum(np.roll(images, way, axis) for way in (-1, 1) for axis in (1, 2)) / 4
        images = np.clip(0.98 * (0.7 * images + 0.3 * neighbours), 0, 1)
    return images


def draw(file, groups, curves, liked):
    """groups: {title: (images, captions, maps)}; curves: {title: {method: curve}}; liked: (10, 28, 28, 1)."""
    figure = Figure(figsize=(15, 8.5), layout="constrained")
    upper, lower = figure.subfigures(2, 1, height_ratios=(2.6, 1))
    for part, (title, (images, captions, maps)) in zip(
        upper.subfigures(1, len(groups)), groups.items(), strict=True
    ):
        part.suptitle(title)
        grid = part.subplots(len(images), 1 + len(METHODS), squeeze=False)
        for axes, name in zip(grid[0], ["", *METHODS], strict=True):
            axes.set_title(name, fontsize=9)
        for number, row in enumerate(grid):
            row[0].set_xlabel(captions[number], fontsize=7)
            row[0].imshow(images[number, ..., 0], "gray_r")
            for axes, name in zip(row[1:], METHODS, strict=True):
                axes.imshow(images[number, ..., 0], "gray_r", alpha=0.4)
                scores = maps[name][number] - max(0, maps[name][number].min())  # red for, blue against
                largest = np.abs(scores).max()
                axes.imshow(scores, "seismic", alpha=0.7, vmin=-largest, vmax=largest)
        for axes in grid.flat:
            axes.set(xticks=[], yticks=[])
    *plots, strip = lower.subplots(1, len(curves) + 1, width_ratios=[1] * len(curves) + [1.6])
    for axes, (title, of_methods) in zip(plots, curves.items(), strict=True):
        for name, curve in of_methods.items():
            axes.plot(np.linspace(0, 1, len(curve)), curve, "k:" if name == "chance" else "-", label=name)
        axes.set(
            title=f"Deletion, {title}",
            xlabel="pixels blackened, of those above 0",
            ylabel="probability",
            ylim=(0, 1),
        )
    plots[0].legend(fontsize=8)
    liked = liked[..., 0] / liked.max(axis=(1, 2, 3))[:, None, None]
    strip.imshow(np.vstack([np.hstack(row) for row in np.split(liked, 2)]), "gray_r")
    strip.set(title="What the network likes best, class by class", xticks=[], yticks=[])
    figure.savefig(file, dpi=70)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generator", type=Path, help="gan_generator.cnnlite or vae_decoder.cnnlite")
    parser.add_argument("--quick", action="store_true", help="the sample in cnnlite, 100 images explained")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("."), help="for explain.png")
    options = parser.parse_args()
    epochs, count, steps = (2, 100, 60) if options.quick else (5, 500, 200)
    cnnlite.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)

    (images, labels), (test_images, test_labels) = datasets.fashion_mnist.load_data(sample=options.quick)
    images, test_images = (x[..., None] / np.float32(255) for x in (images, test_images))
    model = documented_network()
    model.fit(images, labels, epochs=epochs)
    logits = logit_network(model)

    said = model.predict(test_images).argmax(axis=1)
    right, wrong = np.flatnonzero(said == test_labels), np.flatnonzero(said != test_labels)
    chosen = rng.permutation(len(test_images))[:count]
    made = generated(options.generator, images, count, epochs, rng)
    _, curves, areas = explain("test images", model, logits, test_images[chosen], rng)
    maps_made, curves_made, areas_made = explain("generated images", model, logits, made, rng)
    groups = {}
    for title, some in (("Right", right[:4]), ("Wrong", wrong[:4])):
        maps = {name: method(logits, test_images[some], said[some]) for name, method in METHODS.items()}
        captions = [NAMES[said[i]] + f" (is {NAMES[test_labels[i]]})" * (title == "Wrong") for i in some]
        groups[title] = test_images[some], captions, maps
    captions = [NAMES[c] for c in model.predict(made[:4]).argmax(axis=1)]
    groups["Generated"] = made[:4], captions, maps_made

    liked = most_liked(logits, rng, steps)
    sure = model.predict(liked)[np.arange(10), np.arange(10)]
    print(f"activation maximisation: the network is sure of its ten images to {sure.min():.1%} at least")
    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.out / "explain.png", groups, {"test images": curves, "generated images": curves_made}, liked)
    for name in ("gradient x image", "occlusion"):
        for of in (areas, areas_made):
            assert of[name] < 0.8 * of["chance"], f"expected {name} to beat chance by a fifth"


if __name__ == "__main__":
    main()
