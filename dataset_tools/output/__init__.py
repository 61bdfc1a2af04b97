"""What a converter leaves: atomic files and sidecars that appear whole or not at all."""
