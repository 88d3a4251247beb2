"""`python -m unmel`: the command."""

from unmel.service.cli.main import main

if __name__ == "__main__":
    main()
