"""Models on this machine, through ONNX Runtime.

``layout`` reads a folder of model files, ``devices`` says where a model is to run, ``sessions`` opens it there and
makes sure that it does; ``tokenizing``, ``batching`` and ``encoders`` answer with vectors and scores, ``generation``
writes; ``shelf`` keeps the models of this machine and ``backend`` is the `Call` of the provider ``local``. The
packages come with the extras ``local`` or ``gpu`` and are imported at first use (``libraries``).
"""
