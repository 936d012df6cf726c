"""The PyTorch twin of examples/gan.py: the same networks, losses, optimizers, steps, batches and noise.

    PYTHONPATH=.:kernels python bench/twins/gan_torch.py --seed 0 --out FOLDER
    PYTHONPATH=.:kernels python bench/twins/score.py FOLDER/gan_torch_0.npy

The first writes 5,000 samples of the trained generator, the second measures them with the example's own classifier, in an
environment that has cnnlite. First weights are of the same distribution; each framework draws its own.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cnnlite import datasets

NOISE, BATCH, SAMPLES, EPOCHS = 64, 128, 5000, 10
REAL, FAKE = 0.9, 0.0


def networks() -> tuple[nn.Sequential, nn.Sequential]:
    """Generator: noise (64,) to an image (1, 28, 28) from -1 to 1. Discriminator: image to a logit."""
    generator = nn.Sequential(
        nn.Linear(NOISE, 7 * 7 * 64, bias=False), nn.Unflatten(1, (64, 7, 7)), nn.BatchNorm2d(64), nn.ReLU(),
        nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, 2, 1), nn.Tanh(),
    )  # fmt: skip
    discriminator = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(32, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(7 * 7 * 64, 1),
    )  # fmt: skip
    for layer in [*generator, *discriminator]:
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(layer.weight, 0, 0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return generator, discriminator


def loss(logits: torch.Tensor, target: float) -> torch.Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))


def main() -> None:
    parser = argparse.ArgumentParser(description="The PyTorch twin of examples/gan.py.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("."))
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(options.seed)
    (train, _), _ = datasets.fashion_mnist.load_data()
    images = torch.from_numpy(2 * (train[:, None] / np.float32(255)) - 1)
    generator, discriminator = networks()
    generator_adam, discriminator_adam = (
        torch.optim.Adam(network.parameters(), 8e-4, (0.5, 0.999)) for network in (generator, discriminator)
    )
    steps = options.epochs * (len(images) // BATCH)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(adam, lambda step: 1 - step / steps)
        for adam in (generator_adam, discriminator_adam)
    ]
    noise_of_samples = torch.from_numpy(rng.standard_normal((SAMPLES, NOISE), np.float32))
    start = time.perf_counter()
    for epoch in range(1, options.epochs + 1):
        order = rng.permutation(len(images))
        losses = np.zeros(2)
        firsts = range(0, len(order) - BATCH + 1, BATCH)
        for first in firsts:
            real = images[order[first : first + BATCH]]
            fake = generator(torch.from_numpy(rng.standard_normal((BATCH, NOISE), np.float32)))
            discriminator_loss = loss(discriminator(real), REAL) + loss(discriminator(fake.detach()), FAKE)
            discriminator_adam.zero_grad()
            discriminator_loss.backward()
            discriminator_adam.step()

            generator_loss = loss(discriminator(fake), 1.0)
            generator_adam.zero_grad()
            generator_loss.backward()
            generator_adam.step()
            for schedule in schedules:
                schedule.step()
            losses += discriminator_loss.item(), generator_loss.item()
        discriminator_mean, generator_mean = losses / len(firsts)
        seconds = time.perf_counter() - start
        print(
            f"epoch {epoch}: discriminator {discriminator_mean:.3f}, generator {generator_mean:.3f}, {seconds:.0f} s",
            flush=True,
        )
        generator.eval()
        with torch.no_grad():
            samples = (generator(noise_of_samples) + 1) / 2
        generator.train()
    np.save(options.out / f"gan_torch_{options.seed}.npy", samples.numpy().reshape(-1, 28, 28, 1))


if __name__ == "__main__":
    main()
