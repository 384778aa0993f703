"""One file per wire format, without I/O."""
