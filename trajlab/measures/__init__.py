"""What is measured beside token losses: sequences, mixtures, multiple choice, lm-eval."""
