#error "a pure library does no I/O: <rdma/rdma_cma.h> belongs to an edge"
