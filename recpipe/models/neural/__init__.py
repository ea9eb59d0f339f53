"""Neural models, trained by PyTorch; what is fitted is scored without it."""
