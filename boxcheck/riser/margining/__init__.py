"""Lane margining at the receiver (PCI Express capability 0x27): how much room each lane has."""
