"""Who hears whom: graphs, their mixing matrices, and how they change. Pure, and alike on every rank without a message."""
