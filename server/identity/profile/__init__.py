"""What people say of themselves, their picture, how they want the product, and who may see what."""
