"""The trajectory file as such: its names, how it is opened, checked and put into place, and values in pieces."""
