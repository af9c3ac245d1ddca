"""MoASE, the mixture of activation-sparsity experts (arXiv 2405.16486): tensors in, tensors out.

Three presets share one set of parameters and differ in their forward pass:

    edge      the default; fused, per token, a learning sparsity gate    edge.py
    paper     the equations                                              paper.py
    official  the authors' code, bug for bug                             official.py

In all shapes B is samples, N tokens, C channels, E experts, R the hidden width of one expert, K classes.
"""
