"""What the options that change an archive do: each is planned and checked first, and applied when it is wanted."""
