"""A notebook in, suspects with probabilities, a verdict and the next step out. Pure."""
