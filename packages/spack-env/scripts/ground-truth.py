"""Asks real Spack about specs, versions and small stacks, and writes its answers to packages/spack-env/fixtures/truth.

    spack python packages/spack-env/scripts/ground-truth.py

What is asked comes from the grammars below with a fixed seed, so a second run with the same Spack changes nothing.
Nothing is concretized: Spack only parses, compares and expands. The packages are those of stacks/quickstart.
"""

import itertools
import json
import os
import random
import tempfile

import spack
import spack.environment as ev
import spack.error
import spack.platforms
import spack.repo
import spack.spec
import spack.version as vn

here = os.path.dirname(os.path.abspath(__file__))
root = os.path.abspath(os.path.join(here, "..", "..", ".."))
target = os.path.join(here, "..", "fixtures", "truth")
quickstart = os.path.join(root, "stacks", "quickstart", "spack_repo", "quickstart")


refusals = (spack.error.SpackError, spack.error.SpecSyntaxError, ValueError)


def write(name, content):
    """One line an entry, so that a diff shows what changed."""
    os.makedirs(target, exist_ok=True)
    with open(os.path.join(target, name), "w", encoding="utf-8") as f:
        f.write(lines(content) + "\n")


def lines(content):
    compact = lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    parts = []
    for key, value in content.items():
        if isinstance(value, dict):
            body = ",\n".join(f"{compact(k)}:{compact(v)}" for k, v in value.items())
            parts.append(f"{compact(key)}:{{\n{body}\n}}")
        elif isinstance(value, list) and len(value) > 4:
            body = ",\n".join(compact(v) for v in value)
            parts.append(f"{compact(key)}:[\n{body}\n]")
        else:
            parts.append(f"{compact(key)}:{compact(value)}")
    return "{\n" + ",\n".join(parts) + "\n}"


def header():
    host = spack.platforms.host()
    return {
        "spack": spack.spack_version,
        "host": {"platform": str(host), "os": str(host.default_os), "target": str(host.default)},
    }


def answer(ask):
    """What Spack says; None where it refuses; an exception of another kind is a bug of Spack and no truth."""
    try:
        return ask()
    except refusals:
        return None


# ---- spec strings


class Grammar:
    names = ["hello", "libgreet", "py-numpy", "a1", "x", "7zip", "intel-oneapi-mkl", "r_odd"]
    compilers = ["gcc", "clang", "intel", "oneapi"]
    words = ["a", "shared", "cxxstd", "build_type", "fabrics", "languages", "x_y", "pic"]
    values = ["a", "17", "Release", "a,b", "b,a,c", "none", "auto", "1.2", "c,c++", "x-y", "*", "true", "False"]
    quoted = ['"a b"', "'-O2 -g'", '"it\'s"', "''", '"x=y"', "'a,b c'"]
    versions = [
        "1", "1.2", "=1.2", "1.2:", ":1.2", "1.2:1.4", "1:2,4", "1.2.3-rc1", "develop", "=develop", "main", "1.2:1.2",
        ":", "2024.01.02", "1_0", "1.0a", "git.main=1.2", "git.abc", "0123456789abcdef0123456789abcdef01234567",
        "=git.feature/x=1.1", "1.2,=1.3,2:", "3:1", "", "=", "1:2:3", "1..2", "-1", "=1:", "1.2,", "stable",
    ]
    targets = ["x86_64", "zen2", "zen2:", ":zen3", "x86_64:zen2", "haswell,zen2", "x86_64_v3", "nothing", "aarch64:"]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, options):
        return self.random.choice(options)

    def maybe(self, chance):
        return self.random.random() < chance

    def version(self):
        return self.pick(["@", "@", "@", " @", "@ "]) + self.pick(self.versions)

    def variant(self):
        word = self.pick(self.words)
        kind = self.random.random()
        if kind < 0.4:
            return self.pick(["+", "~", " -", "++", "~~", " --", " +", " ~"]) + word
        value = self.pick(self.values + self.quoted)
        return f" {word}{self.pick(['=', '=', ':=', '==', ':=='])}{value}"

    def flag(self):
        name = self.pick(["cflags", "cxxflags", "fflags", "ldflags", "ldlibs", "cppflags"])
        return f" {name}{self.pick(['=', '=='])}{self.pick(['-O2', '-g', self.pick(self.quoted), '-lm'])}"

    def architecture(self):
        return self.pick(
            [
                lambda: f" target={self.pick(self.targets)}",
                lambda: " os=" + self.pick(["rhel9", "debian12", "default_os", "fe", "*"]),
                lambda: " platform=" + self.pick(["linux", "darwin", "windows"]),
                lambda: f" arch=linux-{self.pick(['rhel9', 'None', '*'])}-{self.pick(self.targets)}",
                lambda: f" arch={self.pick(['linux', 'zen2', 'linux-rhel9', 'a-b-c-d'])}",
            ]
        )()

    def parts(self, chance):
        text = ""
        if self.maybe(chance):
            text += self.version()
        while self.maybe(chance):
            text += self.variant()
        if self.maybe(chance / 4):
            text += self.flag()
        if self.maybe(chance / 4):
            text += self.architecture()
        if self.maybe(chance / 8):
            text += self.pick(["/", " /"]) + self.pick(["abc", "abcdefg", "a2c", "1b!", ""])
        return text

    def edge(self):
        sigil = self.pick([" ^", " ^", " %", " %", "%", " %%", " ^^", " ^ "])
        attributes = ""
        if self.maybe(0.25):
            attributes = "[" + self.pick(
                [
                    "virtuals=c", "virtuals=cxx,c", "deptypes=link", "deptypes=build,link virtuals=mpi", "when=+a",
                    "when='@1.2 %gcc'", "deptypes=run when=target=zen2:", "color=red", "deptypes=often", "",
                    "virtuals='mpi'", "when='^y' virtuals=c,fortran",
                ]
            ) + self.pick(["] ", "]"])
        elif self.maybe(0.25):
            attributes = self.pick(["c=", "c,cxx=", "mpi=", "fortran,c=", "c=="])
        name = self.pick(self.compilers + self.names + ["mpi", "*", ""])
        return sigil + attributes + name + self.parts(0.2)

    def spec(self):
        name = self.pick(self.names + ["", "*", "builtin.zlib", "quickstart.hello", "a.b.c"])
        text = name + self.parts(0.35)
        while self.maybe(0.4):
            text += self.edge()
        return text

    def broken(self):
        """A spec with a character put in, taken out or doubled."""
        text = self.spec() or "x"
        at = self.random.randrange(len(text))
        noise = self.pick(list("@+~%^=:[],'\" /!\\.-$") + ["", "@@", "==", " x"])
        return text[:at] + noise + text[at + self.pick([0, 1]):]


def spec_strings():
    grammar = Grammar(1)
    texts = dict.fromkeys(
        [grammar.spec() for _ in range(3600)] + [grammar.broken() for _ in range(1400)]
    )
    specs = {}
    for text in texts:
        try:
            specs[text] = answer(lambda: str(spack.spec.Spec(text)))
        except Exception:
            continue
    write("spec-strings.json", {**header(), "specs": specs})


# ---- versions


def versions():
    single = [
        "1", "1.0", "1.2", "1.2.0", "1.2.1", "1.2.10", "1.10", "1.9", "01.2", "1_2", "1-2", "1.2a", "1.2b", "1.2z",
        "1.2zA", "1.2Z", "1.2.a", "1.2alpha", "1.2alpha1", "1.2beta", "1.2beta2", "1.2rc", "1.2rc0", "1.2rc1", "1.2rc2", "1.2-rc2",
        "1.2.rc.1", "1.3rc1", "rc1", "rc", "alpha", "a", "b", "z", "zz", "A", "Z", "abc", "2", "10", "2024.01.02",
        "2024-01-02", "develop", "main", "master", "head", "trunk", "nightly", "stable", "develop.1", "1.develop",
        "main-2", "20240101123456789012", "20240101123456789013", "1.2final", "1.2.final1", "0", "00", "1.2.3.4.5",
    ]
    order = [
        "".join("<=>"[(vn.Version(a) > vn.Version(b)) - (vn.Version(a) < vn.Version(b)) + 1] for b in single)
        for a in single
    ]
    lists = [
        ":", "1.2", "=1.2", "=1.2.0", "=1.2.1", "1.2:", ":1.2", "1.2:1.4", "1.1:1.2", "1.2.1:1.2.9", "1.3", "1.2,1.4",
        "1.2:1.3,1.5:1.6", ":1.1,1.9:", "=1.1,=1.3,=1.5", "1.1:1.3,=1.5", "1:2", "3:4", "1:4", "=1.2rc1", "1.2rc1",
        "1.2rc", "1.2rc0", "=1.2rc", "=1.2rc0", "1.2rc1:1.2", "1.2beta:1.2rc", "1.2z", "=1.2z", "=1.2zA", "1.2zA", "z", "=z", "=zA", "=zz", "1.2y:1.2z",
        "Z", "a", ":z", "develop", "=develop", "main:", ":develop", "=1.develop", "git.main=1.2", "git.main=1.3rc1",
        "git.abc=develop", "=1.2-1", "1.2_1", "1.9:1.10", "20240101123456789012:", "=20240101123456789013",
        "1.2alpha:", "1.2.final1", "1.4:1.6,=1.2,=1.9", "1.2:1.4,1.6:1.8,2.0:2.2", "1.3:1.7,2.1:2.4", "=1.4,=1.8,=2.2",
        "0:0", "1.0:1", "1.2.3.4.5", "20240101123456789012", "1:20240101123456789013", ":20240101123456789012,20240101123456789014:",
        "1.maim", "1.maia:1.maim", "1.mail:1.maz", "1.maio", "develoo", "A:develoo", "1.2A", "1.2Z:1.2b", "1.2zz:1.2zzA", "1.develoo", "=1.developA",
    ]
    parsed = [spack.spec.Spec(f"x@{text}").versions for text in lists]
    table = lambda ask: ["".join("1" if ask(a, b) else "0" for b in parsed) for a in parsed]
    both = {}
    for (i, a), (j, b) in itertools.product(enumerate(parsed), repeat=2):
        if i < j:
            common = a.intersection(b)
            both[f"{lists[i]} & {lists[j]}"] = str(common)
    write(
        "versions.json",
        {
            "spack": spack.spack_version,
            "versions": single,
            "order": order,
            "lists": lists,
            "printed": [str(a) for a in parsed],
            "satisfies": table(lambda a, b: a.satisfies(b)),
            "intersects": table(lambda a, b: a.intersects(b)),
            "intersection": both,
        },
    )


# ---- relations between specs


def relations():
    # None asks for a virtual by name (^mpi): between abstract specs, Spack 1.1 does not look at what edges provide.
    specs = [
        "", "x", "y", "one.x", "two.x", "one.x@1.2", "x@1.2", "x@=1.2.3", "x@1.2:", "x@:1.1", "x+a", "x~a", "x++a", "x~~a",
        "x v=a", "x v=b", "x v=a,b", "x v:=a", "x v:=a,b", "x v=*", "x cflags=-O2", "x cflags='-O2 -g'", "x cflags==-g",
        "x target=zen2", "x target=zen2:", "x target=:zen3", "x target=x86_64:haswell", "x os=rhel9",
        "x platform=linux", "x arch=linux-rhel9-zen2", "x/abc", "x/abcdef", "x/b", "x ^y", "x ^y@1", "x ^y@2:", "x ^y+a",
        "x %y", "x %%y", "x %y@1", "x ^z", "x ^y ^z", "x ^y %z", "x %z ^y", "x ^[virtuals=mpi] y",
        "x ^[virtuals=mpi] z", "x ^[virtuals=mpi,c] y", "x %c=gcc", "x %c,cxx=gcc", "x %cxx=gcc@12", "x %gcc@12",
        "x %gcc", "x %clang", "x ^[when=+a] y", "x ^[when=~a] y", "x+a ^[when=+a] y", "x %[when=+a] gcc", "x %[when=+b] gcc",
        "x ^[deptypes=build] y", "x ^[deptypes=link] y", "x %[deptypes=build] y", "x %[deptypes=link] y",
        "x ^[virtuals=c] gcc", "x ^[virtuals=cxx] gcc", "+a", "@1.2", "%gcc", "%c=gcc", "^y", "^y@1", "^[virtuals=mpi] y", "^[when=+a] y", "^z",
        "target=zen2", "one.x ^two.y", "x ^one.y", "x ^two.y", "x ^y/abc", "gcc@14 %gcc@12", "gcc %gcc",
        "x ^@1", "x ^+a", "^+a", "x ^y %clang", "x ^y %gcc", "^y %gcc", "^y %clang", "x ^y ^z@1", "^[virtuals=mpi] z",
        "x ^[virtuals=mpi] y ^[virtuals=c] z", "^[virtuals=mpi,c] y", "x ^y ^[deptypes=build] z",
        "x %z+a ^y@1", "y %gcc", "x ^[deptypes=run] y", "x ^[deptypes=test] y", "^[virtuals=mpi]*",
        "x ^[when=+a] y@1 ^[when=~a] y@2", "x ^[when=~a] y@2 ^[when=+a] y@1", "x ^[when=+a] y@1", "x ^[when=~a] y@2",
    ]
    pairs = {"satisfies": [], "intersects": []}
    for a in specs:
        row = {"satisfies": "", "intersects": ""}
        for b in specs:
            for kind in row:
                try:
                    value = getattr(spack.spec.Spec(a), kind)(spack.spec.Spec(b))
                    row[kind] += "1" if value else "0"
                except Exception:
                    row[kind] += "?"
        for kind in row:
            pairs[kind].append(row[kind])
    joined = {}
    chooser = random.Random(3)
    for a, b in chooser.sample(list(itertools.product(specs, repeat=2)), 2000):

        def constrained():
            left = spack.spec.Spec(a)
            left.constrain(spack.spec.Spec(b))
            return str(left)

        try:
            joined[f"{a} & {b}"] = answer(constrained)
        except Exception:
            continue
    write(
        "relations.json",
        {"spack": spack.spack_version, "specs": specs, **pairs, "constrain": joined},
    )


# ---- stacks


class Stacks:
    """Small environments of the quickstart's packages: definitions with conditions, matrices, references, excludes."""

    atoms = ["hello", "libgreet", "libgreet+shared", "chorus@1.1:", "libchorus", "greet-scripts@0.9"]
    more = [
        ["@1.2:", "@:1.1", "@1.2.0"], ["+shared", "~shared"], ["%gcc", "%gcc@12", "%clang"], ["flavor=plain", "flavor=fancy"],
        ["target=x86_64", "target=x86_64_v3:"], ["^libgreet+shared", "^libgreet~shared"], ["cflags=-O2", "cflags='-O3 -g'"],
    ]
    excludes = ["libgreet~shared", "%gcc@12", "libgreet %clang", "@:1.1", "flavor=fancy", "hello target=x86_64", "^libgreet~shared"]
    conditions = [
        "True", "False", "platform == 'linux'", "platform == 'darwin'", "os == 'debian12' or os == 'rhel9'",
        "not target.startswith('x')", "re.match('lin', platform)", "env.get('NO_SUCH_VARIABLE', 'b') == 'b'",
        "'NO_SUCH_VARIABLE' in env", "arch.satisfies('platform=linux')",
    ]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def some(self, options, most):
        return self.random.sample(options, self.random.randint(1, min(most, len(options))))

    def matrix(self, names):
        rows = [self.some(self.atoms, 3)]
        for row in self.some(self.more, 3):
            rows.append(self.some(row, len(row)))
        if names and self.random.random() < 0.4:
            rows[0] = ["$" + self.random.choice(names)]
        result = {"matrix": rows}
        if self.random.random() < 0.4:
            result["exclude"] = self.some(self.excludes, 2)
        return result

    def stack(self):
        definitions, lists, compilers = [], [], []
        for name in self.some(["apps", "libs", "tools"], 3):
            items = self.some(self.atoms, 3)
            if self.random.random() < 0.3:
                items.append(self.matrix(lists))
            if lists and self.random.random() < 0.3:
                items.append("$" + self.random.choice(lists))
            entry = {name: items}
            if self.random.random() < 0.3:
                entry["when"] = self.random.choice(self.conditions)
            definitions.append(entry)
            lists.append(name)
            if self.random.random() < 0.3:
                definitions.append({name: self.some(self.atoms, 2), "when": self.random.choice(self.conditions)})
        if self.random.random() < 0.5:
            definitions.append({"compilers": self.some(["gcc@12", "clang", "gcc"], 3)})
            compilers.append("compilers")
        specs = []
        for _ in range(self.random.randint(1, 4)):
            kind = self.random.random()
            if kind < 0.3:
                specs.append(self.random.choice(self.atoms))
            elif kind < 0.6:
                specs.append("$" + self.random.choice(lists))
            elif kind < 0.8 or not compilers:
                specs.append(self.matrix(lists))
            else:
                specs.append({"matrix": [["$" + self.random.choice(lists)], ["$%compilers"]]})
        return {"spack": {"definitions": definitions, "specs": specs}}


def stacks():
    maker = Stacks(5)
    found = []
    while len(found) < 150:
        manifest = maker.stack()
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "spack.yaml"), "w", encoding="utf-8") as f:
                json.dump(manifest, f)
            try:
                specs = [str(spec) for spec in ev.Environment(folder).user_specs]
            except spack.repo.RepoError:
                raise
            except refusals:
                specs = None
        if specs is None or len(specs) <= 40:
            found.append({"manifest": manifest, "specs": specs})
    write("stacks.json", {**header(), "stacks": found})


builtin = spack.repo.PATH.get_repo("builtin").root
with spack.repo.use_repositories(quickstart):
    spec_strings()
    versions()
    relations()
# An exclude makes Spack look up variants in the recipe, and recipes take their build systems from builtin.
with spack.repo.use_repositories(quickstart, builtin):
    stacks()
