"""How a request proves who sends it.

``keys`` finds keys, ``signing`` chooses who signs a request, ``tokens`` keeps what is minted until it ends;
``aws``, ``azure``, ``google`` and ``ibm`` mint, each in its own way; ``found`` says what is there to mint from.
"""
