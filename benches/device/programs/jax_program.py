"""JAX: a jitted training loop and a scan; how it takes memory (preallocated, platform, cuda_async) is chosen by environment, and so are the flags that make its results repeat."""
import jax, jax.numpy as jnp, numpy as np
from report import Report, arguments


def main():
    arguments_ = arguments(["run"])
    r = Report()
    rng = np.random.default_rng(0)
    x, y = jnp.asarray(rng.standard_normal((256, 512), dtype=np.float32)), jnp.asarray(rng.standard_normal((256, 64), dtype=np.float32))
    w = [jnp.asarray(rng.standard_normal(s, dtype=np.float32) * 0.05) for s in ((512, 512), (512, 64))]

    def loss(w):
        return jnp.mean((jnp.tanh(x @ w[0]) @ w[1] - y) ** 2)

    @jax.jit
    def step(w):
        l, g = jax.value_and_grad(loss)(w)
        return [a - 0.1 * b for a, b in zip(w, g)], l

    losses = []
    for _ in range(30):
        w, l = step(w)
        losses.append(l)
    r.value("losses", np.asarray(jnp.stack(losses)))
    r.value("weights", np.asarray(w[0]))
    r.value("scan", np.asarray(jax.jit(lambda v: jax.lax.scan(lambda c, _: (jnp.sin(c) + 0.5 * c, c.sum()), v, None, length=50)[1])(x)))
    stats = jax.devices()[0].memory_stats() or {}
    r.look(**({"bytes_limit": stats["bytes_limit"]} if "bytes_limit" in stats else {}))
    if arguments_.quota:
        m = x[:256, :256]
        product = jax.jit(lambda v: v @ v)
        def allocate(n):
            v = jnp.ones((n,), dtype=jnp.uint8)
            v.block_until_ready()
            return v
        r.fill(arguments_.quota, allocate, jax.errors.JaxRuntimeError, lambda: None, lambda: np.asarray(product(m)))
    r.print()


if __name__ == "__main__":
    main()
