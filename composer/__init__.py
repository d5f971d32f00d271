"""What surrounds the product: environment, infrastructure, images, and the stand-ins for one machine."""
