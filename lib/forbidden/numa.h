#error "a pure library does no I/O: <numa.h> belongs to an edge"
