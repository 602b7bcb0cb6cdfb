"""Who looks at which rows, and when: minibatches, clients, local steps between agreements."""
