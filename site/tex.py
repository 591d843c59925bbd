"""The equations of the page of methods in TeX, each beside the text of the docstring that it sets.

A docstring is read in a terminal and in an editor, so its equations are plain text. Where one changes, it is no longer
found here, the page shows it as text, and a test of the site says so.
"""

_D = r"\text{D minimises}\quad & "
_G = r"\text{G minimises}\quad & "

# Of objectives, the losses of D and G; a line of the docstring's table of `losses` each.
_LOSSES = {
    "softplus(−r) + softplus(g)": r"\text{softplus}(-r) + \text{softplus}(g)",
    "−softplus(g)": r"-\text{softplus}(g)",
    "softplus(−g)": r"\text{softplus}(-g)",
    "½(r − b)² + ½(g − a)²": r"\tfrac12 (r - b)^2 + \tfrac12 (g - a)^2",
    "½(g − c)²": r"\tfrac12 (g - c)^2",
    "g − r": "g - r",
    "−g": "-g",
    "max(0, 1 − r) + max(0, 1 + g)": r"\max(0,\, 1 - r) + \max(0,\, 1 + g)",
    "softplus(g − r)": r"\text{softplus}(g - r)",
    "softplus(r − g)": r"\text{softplus}(r - g)",
}

_BLOCKS = {
    # losses.f_divergence
    "D minimises −(E[T(x)] − E[f*(T(G(z)))])        G minimises −E[f*(T(G(z)))], or −E[T(G(z))] if non_saturating": _D
    + r"-\left(\mathbb{E}[T(x)] - \mathbb{E}[f^*(T(G(z)))]\right) \\"
    + _G
    + r"-\mathbb{E}[f^*(T(G(z)))], \text{ or } -\mathbb{E}[T(G(z))] \text{ if non\_saturating}",
    # penalties
    "λ · E[(‖∇f(x̂)‖ − 1)²], at points x̂ = real + ε·(fake − real) drawn uniformly between a real and a fake sample.": (
        r"& \lambda\, \mathbb{E}\left[(\|\nabla f(\hat x)\| - 1)^2\right], \quad"
        r"\hat x = x + \varepsilon\,(G(z) - x), \quad \varepsilon \text{ uniform in } [0, 1)"
    ),
    "λ · E[(‖∇f(x̂)‖ − 1)²], at points x̂ around the real samples: fakes play no part.": (
        r"& \lambda\, \mathbb{E}\left[(\|\nabla f(\hat x)\| - 1)^2\right], \quad"
        r"\hat x = x + \tfrac12\, \varepsilon\, s\, u, \quad \varepsilon, u \text{ uniform in } [0, 1)"
    ),
    "γ/2 · E[‖∇f(x)‖²] at the real samples.": (r"& \tfrac{\gamma}{2}\, \mathbb{E}_x\left[\|\nabla f(x)\|^2\right]"),
    "γ/2 · E[‖∇f(x)‖²] at the fake samples: as `r1`, on the generator's side.": (
        r"& \tfrac{\gamma}{2}\, \mathbb{E}_z\left[\|\nabla f(G(z))\|^2\right]"
    ),
    # games
    "D minimises   its loss of the objective + λ·(CE(real) + CE(fake))\n"
    "G minimises   its loss of the objective + λ·CE(fake)": _D
    + r"J_D + \lambda\,(\text{CE}(x) + \text{CE}(G(z))) \\"
    + _G
    + r"J_G + \lambda\,\text{CE}(G(z))",
    "G and Q minimise   G's loss of the objective − λ·L,    L = E[log Q(c | x)] + H(c) ≤ I(c; G(z, c))": (
        r"\text{G and Q minimise}\quad & J_G - \lambda L, \qquad "
        r"L = \mathbb{E}[\log Q(c \mid x)] + H(c) \le I(c;\, G(z, c))"
    ),
    "D minimises   CE(labelled real) + its loss of the objective on log Z\n"
    "G minimises   its loss of the objective on log Z, or ‖E φ(x) − E φ(G(z))‖² where features φ are to be matched": _D
    + r"\text{CE}(\text{labelled } x) + J_D(\log Z) \\"
    + _G
    + r"J_G(\log Z), \text{ or } \left\|\mathbb{E}\,\varphi(x) - \mathbb{E}\,\varphi(G(z))\right\|^2"
    r" \text{ where features } \varphi \text{ are to be matched}",
    "D minimises   E H(p(x)) − H(E p(x)) − E H(p(G(z))) + λ·CE(labelled real)\n"
    "G minimises   E H(p(G(z))) − H(E p(G(z)))": _D
    + r"\mathbb{E}\,H(p(x)) - H(\mathbb{E}\,p(x)) - \mathbb{E}\,H(p(G(z)))"
    r" + \lambda\,\text{CE}(\text{labelled } x) \\" + _G + r"\mathbb{E}\,H(p(G(z))) - H(\mathbb{E}\,p(G(z)))",
    "D minimises   E(x) + [m − E(G(z))]₊\n"
    "G minimises   E(G(z)) + w·P,    P the mean squared cosine between the codes of pairs of fakes": _D
    + r"\mathcal{E}(x) + \max(0,\, m - \mathcal{E}(G(z))) \\"
    + _G
    + r"\mathcal{E}(G(z)) + w P, \quad P \text{ the mean squared cosine between the codes of pairs of fakes}",
    "D minimises   L(x) − k·L(G(z))\n"
    "G minimises   L(G(z))\n"
    "after D's step    k ← k + λ·(γ·L(x) − L(G(z))), kept in [0, 1]": _D
    + r"\mathcal{L}(x) - k\,\mathcal{L}(G(z)) \\"
    + _G
    + r"\mathcal{L}(G(z)) \\ \text{after D's step}\quad &"
    r"k \leftarrow k + \lambda\,(\gamma\,\mathcal{L}(x) - \mathcal{L}(G(z))), \text{ kept in } [0, 1]",
    "D, looked ahead   θ₀ = θ,  θₖ₊₁ = θₖ − η·∇ its loss at θₖ,  K times\n"
    "G minimises       its loss of the objective at θ_K": (
        r"\text{D, looked ahead}\quad & \theta_0 = \theta, \quad"
        r"\theta_{k+1} = \theta_k - \eta\,\nabla J_D(\theta_k), \quad K \text{ times} \\"
    )
    + _G
    + r"J_G(\theta_K)",
    "G and E minimise   G's loss on G(z) + λ₁·d(x, G(E(x))) + λ₂·G's loss on G(E(x)),    d = mean squared difference": (
        r"\text{G and E minimise}\quad & J_G(G(z)) + \lambda_1\, d(x, G(E(x))) + \lambda_2\, J_G(G(E(x))),"
        r"\quad d \text{ the mean squared difference}"
    ),
    "D minimises   the cross-entropy of K + 1 classes: 0 … K − 1 the generators, K real\n"
    "G minimises   E[−log p(real)] or, as in the 2014 paper, E[log(1 − p(real))]": _D
    + r"\text{the cross-entropy of } K + 1 \text{ classes: } 0 \ldots K - 1 \text{ the generators, } K \text{ real} \\"
    + _G
    + r"\mathbb{E}[-\log p(\text{real})] \text{ or, as in the 2014 paper, } \mathbb{E}[\log(1 - p(\text{real}))]",
}

_TABLES = {
    # losses.f_divergence
    """\
name               f(u)                             T                     f*(T)                divergence
kl                 u log u                          v                     e^(v − 1)            ∫ p log(p/q)
reverse_kl         −log u                           −e^(−v)               v − 1                ∫ q log(q/p)
pearson            (u − 1)²                         v                     v²/4 + v             ∫ (p − q)²/q
squared_hellinger  (√u − 1)²                        1 − e^(−v)            e^v − 1              ∫ (√p − √q)²
jensen_shannon     u log u − (u + 1) log((u + 1)/2) log 2 − softplus(−v)  softplus(v) − log 2  2·JS(p, q)""": r"""
| name | $f(u)$ | $T$ | $f^*(T)$ | divergence |
|---|---|---|---|---|
| kl | $u \log u$ | $v$ | $e^{v - 1}$ | $\int p \log(p/q)$ |
| reverse_kl | $-\log u$ | $-e^{-v}$ | $v - 1$ | $\int q \log(q/p)$ |
| pearson | $(u - 1)^2$ | $v$ | $v^2/4 + v$ | $\int (p - q)^2/q$ |
| squared_hellinger | $(\sqrt u - 1)^2$ | $1 - e^{-v}$ | $e^v - 1$ | $\int (\sqrt p - \sqrt q)^2$ |
| jensen_shannon | $u \log u - (u + 1) \log\tfrac{u + 1}{2}$ | $\log 2 - \text{softplus}(-v)$ |"""
    + r" $\text{softplus}(v) - \log 2$ | $2\,\text{JS}(p, q)$ |",
}


def block(equation: str) -> str:
    """An equation of a docstring as Markdown: in TeX, with a table below it as text; or all of it as text."""
    formula, _, table = equation.partition("\n\n")
    lines = [line.split("minimises   ") for line in formula.split("\n")]
    if formula in _BLOCKS:
        tex = _BLOCKS[formula]
    elif [line[0] for line in lines] == ["D ", "G "] and all(line[1] in _LOSSES for line in lines):
        tex = rf"{_D}{_LOSSES[lines[0][1]]} \\ {_G}{_LOSSES[lines[1][1]]}"
    else:
        return f"```text\n{equation}\n```"
    tex = f"$$\n\\begin{{aligned}}\n{tex}\n\\end{{aligned}}\n$$"
    if table:
        tex += "\n\n" + _TABLES.get(table, f"```text\n{table}\n```")
    return tex
