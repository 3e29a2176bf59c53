"""What an image needs besides: its commands, process 1, where its model lies, its health."""
