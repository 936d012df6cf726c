"""A variational autoencoder on Fashion-MNIST (Kingma and Welling 2014): clothes as 16 numbers, and back.

An encoder turns an image into the mean and variance of a normal distribution over 16 numbers z; a decoder turns a z drawn from it
into an image. Both learn to raise the ELBO, a lower bound of how likely the images are,

    ELBO = E[log p(x | z)] - KL(N(mean, variance) || N(0, 1)),

with one draw of z an image. A grey value counts as the probability of a white pixel (Bernoulli likelihood): log p(x | z) is minus
the cross-entropy of pixels, in nats.

Expect a held-out ELBO of -543 before training and, with seeds 0, 1 and 2, -243.8, -243.7 and -244.1 after 6 epochs of 60,000 images,
in 40 seconds on two cores of Zen 5; about -230 of it is the reconstruction, -14 the divergence. The PyTorch twin,
bench/twins/vae_torch.py, gets to -244.4, -244.2 and -244.5, in steps that take 1.4 times as long. `--quick` takes 3 epochs of the
sample of 10,000 images, and gets to -270.
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

import cnnlite
from cnnlite import datasets, layers, models, optimizers

LATENT, BATCH = 16, 128


def networks():
    """Encoder: image (28, 28, 1) to mean and log variance (32,). Decoder: z (16,) to a logit a pixel (28, 28, 1)."""
    encoder = models.Sequential([layers.Input((28, 28, 1))])
    encoder.add(layers.Conv2D(32, 4, strides=2, padding="same", activation="relu"))
    encoder.add(layers.Conv2D(64, 4, strides=2, padding="same", activation="relu"))
    encoder.add(layers.Flatten())
    encoder.add(layers.Dense(128, activation="relu"))
    encoder.add(layers.Dense(2 * LATENT))

    decoder = models.Sequential([layers.Input((LATENT,))])
    decoder.add(layers.Dense(128, activation="relu"))
    decoder.add(layers.Dense(7 * 7 * 64, activation="relu"))
    decoder.add(layers.Reshape((7, 7, 64)))
    decoder.add(layers.Conv2DTranspose(32, 4, strides=2, padding="same", activation="relu"))
    decoder.add(layers.Conv2DTranspose(1, 4, strides=2, padding="same"))
    return encoder, decoder


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def draw(encoded, noise):
    """(mean, log variance, z): z = mean + sqrt(variance) * noise, through which gradients go (the reparameterisation)."""
    mean, log_variance = np.split(encoded, 2, axis=1)
    return mean, log_variance, mean + np.exp(log_variance / 2) * noise


def minus_elbo(x, logits, mean, log_variance):
    """(reconstruction error, KL divergence) in nats an image, means over the batch."""
    error = (np.logaddexp(0, logits) - x * logits).sum()
    divergence = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance).sum()
    return np.array([error, divergence]) / len(x)


def step(encoder, decoder, optimizer, x, noise):
    """One step down the gradient of minus the ELBO of a batch."""
    mean, log_variance, z = draw(encoder.forward(x, training=True), noise)
    logits = decoder.forward(z, training=True)
    encoder.zero_gradients()
    decoder.zero_gradients()
    grad_z = decoder.backward((sigmoid(logits) - x) / len(x))
    grad_mean = grad_z + mean / len(x)
    grad_log_variance = grad_z * noise * np.exp(log_variance / 2) / 2 + (np.exp(log_variance) - 1) / 2 / len(
        x
    )
    encoder.backward(np.hstack([grad_mean, grad_log_variance]))
    optimizer.apply(encoder.trainable_weights + decoder.trainable_weights)


def evaluate(encoder, decoder, images, noise):
    """minus_elbo of all images, one draw of z for each."""
    mean, log_variance, z = draw(encoder.predict(images), noise)
    return minus_elbo(images, decoder.predict(z), mean, log_variance)


def draw_picture(encoder, decoder, images, labels, path, steps=12):
    """Images and their reconstructions, walks on straight lines from one image's z to another's, and z drawn from N(0, 1)."""
    means = np.split(encoder.predict(images[:steps]), 2, axis=1)[0]
    rows = {"test images": images[:steps], "reconstructed": sigmoid(decoder.predict(means))}
    for start, end in ((0, 1), (2, 9), (11, 4)):
        name = " to ".join(datasets.fashion_mnist.CLASSES[labels[image]] for image in (start, end))
        rows[name] = sigmoid(decoder.predict(np.linspace(means[start], means[end], steps)))
    rows["z from N(0, 1)"] = sigmoid(
        decoder.predict(np.random.default_rng(0).standard_normal((steps, LATENT)))
    )
    figure = Figure((steps / 2, len(rows) / 2))
    axes = figure.subplots()
    axes.imshow(np.vstack([np.hstack(row[..., 0]) for row in rows.values()]), "gray", vmin=0, vmax=1)
    axes.set_yticks(28 * np.arange(len(rows)) + 14, rows)
    axes.set_xticks([])
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 epochs of the sample that comes with cnnlite")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("."), help="for vae.png and vae_decoder.cnnlite")
    options = parser.parse_args()
    epochs, bar = (3, -290) if options.quick else (6, -248)

    (images, _), (test_images, test_labels) = datasets.fashion_mnist.load_data(sample=options.quick)
    images, test_images = (x[..., None] / np.float32(255) for x in (images, test_images))
    cnnlite.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    encoder, decoder = networks()
    optimizer = optimizers.Adam(1e-3)
    noise_of_test = rng.standard_normal((len(test_images), LATENT), np.float32)
    for epoch in range(epochs + 1):
        if epoch:
            order = rng.permutation(len(images))
            firsts = range(0, len(order) - BATCH + 1, BATCH)
            for first in tqdm(firsts, f"epoch {epoch}/{epochs}", disable=None):
                x = images[order[first : first + BATCH]]
                step(encoder, decoder, optimizer, x, rng.standard_normal((BATCH, LATENT), np.float32))
        error, divergence = evaluate(encoder, decoder, test_images, noise_of_test)
        print(f"epoch {epoch}: held-out ELBO {-error - divergence:.2f} = -{error:.2f} - {divergence:.2f}")

    options.out.mkdir(parents=True, exist_ok=True)
    decoder.save(options.out / "vae_decoder.cnnlite")
    draw_picture(encoder, decoder, test_images, test_labels, options.out / "vae.png")
    assert -error - divergence > bar, f"expected a held-out ELBO above {bar}"


if __name__ == "__main__":
    main()
