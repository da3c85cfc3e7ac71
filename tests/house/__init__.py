"""The house: set-up, lock files, commands, image and guides."""
