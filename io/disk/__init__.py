"""What keeps bytes safe: seals, checksums, files that reach the disk whole, files that HDF5 can be given."""
