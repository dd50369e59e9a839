"""Network compression that keeps a model's answers, not only its accuracy."""
