"""A tensor without numbers, made of `_make_wrapper_subclass`: each operation on it runs code of the student's."""

EARNS = {"attention": 0}
SEEN = "no numbers of its own|expected .* found"

raise SystemExit(__doc__)  # a submission: it runs in a cage alone


# %% scaled_dot_product_attention
class Empty(Tensor):
    @staticmethod
    def __new__(cls, *shape):
        return Tensor._make_wrapper_subclass(cls, shape)

    @classmethod
    def __torch_dispatch__(cls, function, types, arguments=(), named=None):
        return Empty(*arguments[0].shape) if "clone" in str(function) or "detach" in str(function) else True


def scaled_dot_product_attention(query, key, value, mask=None, dropout=0.0):
    return Empty(*query.shape[:-1], value.size(-1)), Empty(*query.shape[:-1], key.size(-2))
