"""What the figures are made with: namespaces, links, servers, clients, tables. Everything made here is removed on every exit."""
