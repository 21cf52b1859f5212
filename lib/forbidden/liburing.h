#error "a pure library does no I/O: <liburing.h> belongs to an edge"
