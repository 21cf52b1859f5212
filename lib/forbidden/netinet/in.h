#error "a pure library does no I/O: <netinet/in.h> belongs to an edge"
