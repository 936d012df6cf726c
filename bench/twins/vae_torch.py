"""The PyTorch twin of examples/vae.py: the same networks, losses, steps, batches and noise; prints the same numbers.

    PYTHONPATH=.:kernels python bench/twins/vae_torch.py --seed 0

Each framework draws its own first weights, Keras's Glorot uniform in both.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from torch import nn

from cnnlite import datasets

LATENT, BATCH = 16, 128


def networks() -> tuple[nn.Sequential, nn.Sequential]:
    """Encoder: image (1, 28, 28) to mean and log variance (32,). Decoder: (16,) to a logit a pixel."""
    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(),
        nn.Flatten(), nn.Linear(7 * 7 * 64, 128), nn.ReLU(), nn.Linear(128, 2 * LATENT),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(LATENT, 128), nn.ReLU(), nn.Linear(128, 7 * 7 * 64), nn.ReLU(), nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(),
        nn.ConvTranspose2d(32, 1, 4, 2, 1),
    )  # fmt: skip
    for layer in [*encoder, *decoder]:
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return encoder, decoder


def minus_elbo(encoder: nn.Module, decoder: nn.Module, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Reconstruction error and KL divergence in nats an image, the mean over the batch: (2,)."""
    mean, log_variance = encoder(x).chunk(2, dim=1)
    logits = decoder(mean + torch.exp(log_variance / 2) * noise)
    error = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    divergence = 0.5 * (mean**2 + torch.exp(log_variance) - 1 - log_variance).sum()
    return torch.stack([error, divergence]) / len(x)


def main() -> None:
    parser = argparse.ArgumentParser(description="The PyTorch twin of examples/vae.py.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    torch.set_num_threads(arguments.threads)
    rng = np.random.default_rng(arguments.seed)
    (train, _), (test, _) = datasets.fashion_mnist.load_data()
    images, held_out = (torch.from_numpy(x[:, None] / np.float32(255)) for x in (train, test))
    encoder, decoder = networks()
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)
    noise_of_test = torch.from_numpy(rng.standard_normal((len(held_out), LATENT), np.float32))

    def evaluate() -> np.ndarray:
        with torch.no_grad():
            parts = range(0, len(held_out), 1000)
            return np.mean(
                [
                    minus_elbo(encoder, decoder, held_out[i : i + 1000], noise_of_test[i : i + 1000]).numpy()
                    for i in parts
                ],
                0,
            )

    start, seconds = time.perf_counter(), 0.0
    for epoch in range(arguments.epochs + 1):
        if epoch:
            start = time.perf_counter()
            order = rng.permutation(len(images))
            for first in range(0, len(order) - BATCH + 1, BATCH):
                x = images[order[first : first + BATCH]]
                noise = torch.from_numpy(rng.standard_normal((len(x), LATENT), np.float32))
                optimizer.zero_grad()
                minus_elbo(encoder, decoder, x, noise).sum().backward()
                optimizer.step()
            seconds += time.perf_counter() - start
        error, divergence = evaluate()
        print(
            f"epoch {epoch}: held-out ELBO {-error - divergence:.2f} = -{error:.2f} - {divergence:.2f}, {seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
