"""`python -m formers` and `torchrun -m formers`: the command line."""

from formers.cli import main

if __name__ == "__main__":
    main()
