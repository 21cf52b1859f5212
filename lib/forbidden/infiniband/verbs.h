#error "a pure library does no I/O: <infiniband/verbs.h> belongs to an edge"
