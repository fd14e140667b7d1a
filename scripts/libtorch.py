#!/usr/bin/env python3
"""Puts libtorch where cargo finds it, and writes .cargo/config.toml.

    scripts/libtorch.py [--torch cpu|cuda]

An existing libtorch of the right version, named by the environment variable LIBTORCH, is used as it is. Otherwise
the official wheels are downloaded with pip (from whatever index pip is configured with), checked against the
SHA-256 below, and the files that linking and running need are unpacked into a per-user cache. `--torch cuda` adds
the CUDA libraries beside it: the same binary finds them when it runs, nothing is built differently.

Only the standard library is used; pip runs as a subprocess.
"""

import argparse
import contextlib
import fcntl
import fnmatch
import hashlib
import os
import pathlib
import platform
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile

VERSION = "2.11.0"  # what the crate `tch` is written against, exactly
MARK = "# Written by scripts/libtorch.py"
ROOT = pathlib.Path(__file__).resolve().parent.parent


class Wheel:
    """A pinned wheel and the files of it that are kept."""

    def __init__(self, requirement, sha256, keep):
        self.requirement, self.sha256, self.keep = requirement, sha256, keep


def torch(sha256, *libs):
    """The torch wheel: headers, and these libraries."""
    return Wheel(f"torch=={VERSION}", sha256, ["torch/include/*"] + [f"torch/lib/{lib}" for lib in libs])


def cuda(requirement, sha256, *libs):
    """A wheel of NVIDIA's: these libraries, or all of them."""
    return Wheel(requirement, sha256, [f"nvidia/*/lib/{lib}" for lib in libs or ("lib*.so*",)])


class Platform:
    """What a kind of machine downloads."""

    def __init__(self, tags, cpu, cuda_build=()):
        self.tags, self.cpu, self.cuda_build = tags, cpu, cuda_build


def manylinux(arch):
    return [f"manylinux_2_{minor}_{arch}" for minor in range(28, 16, -1)] + [f"manylinux2014_{arch}"]


# The parts of libtorch that the CPU does not need.
CUDA_BUILD = ("torch_cuda", "torch_cuda_linalg", "torch_nvshmem", "c10_cuda", "caffe2_nvrtc")

X86_64_TORCH = "7aa2f9bbc6d4595ba72138026b2074be1233186150e9292865e04b7a63b8c67a"

# libtorch_cpu.so of the Linux wheels asks for the CUDA runtime and CUPTI by name, on machines without a GPU too.
PLATFORMS = {
    ("Linux", "x86_64"): Platform(
        manylinux("x86_64"),
        cpu=[
            torch(X86_64_TORCH, "libtorch_cpu.so", "libc10.so", "libgomp.so.1"),
            cuda(
                "nvidia-cuda-runtime==13.0.96",
                "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
                "libcudart.so.13",
            ),
            cuda(
                "nvidia-cuda-cupti==13.0.85",
                "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
                "libcupti.so.13",
            ),
        ],
        cuda_build=[
            Wheel(
                f"torch=={VERSION}",
                X86_64_TORCH,
                [f"torch/lib/lib{name}.so" for name in CUDA_BUILD],
            ),
            cuda("nvidia-cublas==13.1.0.3", "ee8722c1f0145ab246bccb9e452153b5e0515fd094c3678df50b2a0888b8b171"),
            cuda("nvidia-cuda-nvrtc==13.0.88", "ad9b6d2ead2435f11cbb6868809d2adeeee302e9bb94bcf0539c7a40d80e8575"),
            cuda("nvidia-cudnn-cu13==9.19.0.56", "d20e1734305e9d68889a96e3f35094d733ff1f83932ebe462753973e53a572bf"),
            cuda("nvidia-cufft==12.0.0.61", "6c44f692dce8fd5ffd3e3df134b6cdb9c2f72d99cf40b62c32dde45eea9ddad3"),
            cuda("nvidia-cufile==1.15.1.6", "08a3ecefae5a01c7f5117351c64f17c7c62efa5fffdbe24fc7d298da19cd0b44"),
            cuda("nvidia-curand==10.4.0.35", "1aee33a5da6e1db083fe2b90082def8915f30f3248d5896bcec36a579d941bfc"),
            cuda("nvidia-cusolver==12.0.4.66", "0a759da5dea5c0ea10fd307de75cdeb59e7ea4fcb8add0924859b944babf1112"),
            cuda("nvidia-cusparse==12.6.3.3", "2b3c89c88d01ee0e477cb7f82ef60a11a4bcd57b6b87c33f789350b59759360b"),
            cuda("nvidia-cusparselt-cu13==0.8.0", "25e30a8a7323935d4ad0340b95a0b69926eee755767e8e0b1cf8dd85b197d3fd"),
            cuda("nvidia-nccl-cu13==2.28.9", "e4553a30f34195f3fa1da02a6da3d6337d28f2003943aa0a3d247bbc25fefc42"),
            cuda("nvidia-nvjitlink==13.0.88", "13a74f429e23b921c1109976abefacc69835f2f433ebd323d3946e11d804e47b"),
            cuda("nvidia-nvshmem-cu13==3.4.5", "290f0a2ee94c9f3687a02502f3b9299a9f9fe826e6d0287ee18482e78d495b80"),
            cuda("nvidia-nvtx==13.0.85", "4936d1d6780fbe68db454f5e72a42ff64d1fd6397df9f363ae786930fd5c1cd4"),
        ],
    ),
    ("Linux", "aarch64"): Platform(
        manylinux("aarch64"),
        cpu=[
            torch(
                "d91aac77f24082809d2c5a93f52a5f085032740a1ebc9252a7b052ef5a4fddc6",
                "libtorch_cpu.so",
                "libc10.so",
                "libgomp.so.1",
                "libarm_compute.so",
                "libarm_compute_graph.so",
                "libnvpl_blas_core.so.0",
                "libnvpl_blas_lp64_gomp.so.0",
                "libnvpl_lapack_core.so.0",
                "libnvpl_lapack_lp64_gomp.so.0",
            ),
            cuda(
                "nvidia-cuda-runtime==13.0.96",
                "ef9bcbe90493a2b9d810e43d249adb3d02e98dd30200d86607d8d02687c43f55",
                "libcudart.so.13",
            ),
            cuda(
                "nvidia-cuda-cupti==13.0.85",
                "796bd679890ee55fb14a94629b698b6db54bcfd833d391d5e94017dd9d7d3151",
                "libcupti.so.13",
            ),
        ],
    ),
    ("Darwin", "arm64"): Platform(
        ["macosx_11_0_arm64"],
        cpu=[
            torch(
                "7b6a60d48062809f58595509c524b88e6ddec3ebe25833d6462eeab81e5f2ce4",
                "libtorch.dylib",
                "libtorch_cpu.dylib",
                "libc10.dylib",
                "libomp.dylib",
            ),
        ],
    ),
}


class Failure(Exception):
    """A message for the user: what went wrong and what to do."""


def main():
    parser = argparse.ArgumentParser(description="Puts libtorch where cargo finds it, and writes .cargo/config.toml.")
    parser.add_argument("--torch", choices=["cpu", "cuda"], default="cpu", help="cuda adds the CUDA libraries")
    wanted = parser.parse_args().torch
    given = os.environ.get("LIBTORCH")
    if given:
        libtorch = check_given(pathlib.Path(given).expanduser().absolute())
        if wanted == "cuda":
            raise Failure(
                "TORCH=cuda downloads a libtorch, but LIBTORCH names one already.\n"
                "Unset LIBTORCH, or point SYNTHOHIVE_LIBTORCH_CUDA at the folder that holds its libtorch_cuda.so."
            )
    else:
        libtorch = provide(wanted)
    write_cargo_config(libtorch)
    cuda_libraries = libtorch / "lib" / "cuda"
    print(f"libtorch {VERSION}: {libtorch}" + (f", CUDA libraries in {cuda_libraries}" if cuda_libraries.exists() else ""))


def check_given(libtorch):
    """An installed libtorch: the right version, with headers and libraries."""
    if not (libtorch / "lib").is_dir() or not (libtorch / "include").is_dir():
        raise Failure(
            f"LIBTORCH={libtorch} has no lib/ and include/.\n"
            f"Point it at the folder of a libtorch {VERSION}, or unset it to have one downloaded."
        )
    version_file = libtorch / "build-version"
    version_py = libtorch / "version.py"  # where LIBTORCH is the `torch` package of a Python environment
    found = None
    if version_file.is_file():
        found = version_file.read_text().strip()
    elif version_py.is_file():
        lines = [line for line in version_py.read_text().splitlines() if line.startswith("__version__")]
        found = lines[0].split("=", 1)[1].strip(" '\"") if lines else None
    if found is None:
        raise Failure(
            f"LIBTORCH={libtorch} does not say its version (no file build-version).\n"
            f"If it is a libtorch {VERSION}: echo {VERSION} > {libtorch}/build-version"
        )
    if found.split("+")[0] != VERSION:
        raise Failure(
            f"LIBTORCH={libtorch} is libtorch {found}, but version {VERSION} is needed.\n"
            "Point it at that version, or unset it to have one downloaded."
        )
    return libtorch


def provide(wanted):
    """The folder of the cached libtorch, made when absent; its CUDA libraries are linked into it as lib/cuda."""
    system, machine = platform.system(), platform.machine()
    machine = {"AMD64": "x86_64", "arm64": "arm64" if system == "Darwin" else "aarch64"}.get(machine, machine)
    here = PLATFORMS.get((system, machine))
    if here is None:
        known = ", ".join(f"{system} {machine}" for system, machine in PLATFORMS)
        raise Failure(
            f"there is no libtorch to download for {system} {machine} (there is for: {known}).\n"
            f"Install a libtorch {VERSION} yourself and set LIBTORCH to its folder."
        )
    if wanted == "cuda" and not here.cuda_build:
        raise Failure(f"the CUDA libraries are known for Linux x86_64, not for {system} {machine}.")

    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "synthohive"
    cache.mkdir(parents=True, exist_ok=True)
    libtorch, cuda_libraries = cache / f"libtorch-{VERSION}-cpu", cache / f"libtorch-{VERSION}-cuda"
    with exclusive(cache / "libtorch.lock"):
        for leftover in cache.glob(".libtorch-*"):
            shutil.rmtree(leftover)
        if not (libtorch / "build-version").is_file():
            install(here.cpu, here.tags, libtorch, f"{VERSION}+cpu\n")
        if wanted == "cuda" and not (cuda_libraries / "build-version").is_file():
            install(here.cuda_build, here.tags, cuda_libraries, f"{VERSION}+cu130\n")
        # Not in lib/ itself: whatever lies there when the binary is built, it is linked against. The binary looks
        # into lib/cuda when it runs.
        link = libtorch / "lib" / "cuda"
        if (cuda_libraries / "build-version").is_file() and not link.exists():
            link.symlink_to(os.path.relpath(cuda_libraries / "lib", link.parent))
    return libtorch


@contextlib.contextmanager
def exclusive(path):
    """Holds a lock on `path`: of two downloads at once, the second waits and finds the work done."""
    with open(path, "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(wheels, tags, target, version):
    """Downloads, checks and unpacks `wheels` into `target`, which appears complete or not at all."""
    with tempfile.TemporaryDirectory(prefix=".libtorch-", dir=target.parent) as scratch:
        scratch = pathlib.Path(scratch)
        made = scratch / "libtorch"
        (made / "lib").mkdir(parents=True)
        for wheel in wheels:
            print(f"downloading {wheel.requirement}", flush=True)
            file = download(wheel, tags, scratch / "wheel")
            unpack(file, wheel, made)
            shutil.rmtree(scratch / "wheel")
        cpu = made / "lib" / "libtorch_cpu.so"
        if cpu.exists():
            # The umbrella library of the wheel would pull libtorch_cuda in.
            (made / "lib" / "libtorch.so").symlink_to(cpu.name)
        (made / "build-version").write_text(version)
        if target.exists():  # without build-version: not ours to trust
            shutil.rmtree(target)
        made.rename(target)


def download(wheel, tags, folder):
    """The wheel's file, checked."""
    folder.mkdir()
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
    command = pip() + ["download", "--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--dest", str(folder)]
    command += [argument for tag in tags for argument in ("--platform", tag)]
    command += ["--require-hashes", "--requirement", str(requirements), "--progress-bar", "off", "--quiet"]
    done = subprocess.run(command, check=False)
    files = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(files) != 1:
        raise Failure(
            f"pip could not download {wheel.requirement} (its message is above).\n"
            "Check the network and pip's index (`pip config list`, or PIP_INDEX_URL), then run `make libtorch` again.\n"
            f"Without a network: copy a libtorch {VERSION} to this machine and set LIBTORCH to its folder."
        )
    digest = hashlib.sha256()
    with open(files[0], "rb") as file:
        for chunk in iter(lambda: file.read(1 << 20), b""):
            digest.update(chunk)
    if digest.hexdigest() != wheel.sha256:
        files[0].unlink()
        raise Failure(
            f"{files[0].name} has sha256 {digest.hexdigest()}, expected {wheel.sha256}; it was deleted.\n"
            "Run `make libtorch` again; if it stays so, pip's index serves a different file."
        )
    return files[0]


def pip():
    """The command that runs pip."""
    for command in ([sys.executable, "-m", "pip"], ["pip3"], ["pip"]):
        with contextlib.suppress(OSError):
            if subprocess.run(command + ["--version"], capture_output=True, check=False).returncode == 0:
                return command
    raise Failure(
        "pip was not found. Install it (Debian, Ubuntu: apt-get install python3-pip; elsewhere: python3 -m ensurepip), "
        f"or set LIBTORCH to the folder of a libtorch {VERSION}."
    )


def unpack(file, wheel, made):
    """Copies the files of `wheel.keep` into `made`: headers below include/, libraries flat into lib/."""
    missing = set(wheel.keep)
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            kept = {pattern for pattern in wheel.keep if fnmatch.fnmatchcase(entry.filename, pattern)}
            if not kept or entry.is_dir():
                continue
            missing -= kept
            if entry.filename.startswith("torch/include/"):
                path = made / entry.filename[len("torch/") :]
            else:
                path = made / "lib" / pathlib.PurePosixPath(entry.filename).name
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            mode = entry.external_attr >> 16
            if mode & stat.S_IXUSR:
                path.chmod(0o755)
    if missing:
        raise Failure(f"{file.name} lacks {', '.join(sorted(missing))}: scripts/libtorch.py does not fit this wheel.")


def write_cargo_config(libtorch):
    """Lets plain `cargo build|test|run` find libtorch, documentation tests included."""
    config = ROOT / ".cargo" / "config.toml"
    lines = [
        f"{MARK}: run `make libtorch` to write it again.",
        "[env]",
        f"LIBTORCH = {quoted(libtorch)}",
    ]
    # A build script's rpath reaches binaries and tests, but not the programs that rustdoc makes of examples.
    lines += ["", "[build]", f"rustdocflags = [\"-C\", {quoted(f'link-arg=-Wl,-rpath,{libtorch}/lib')}]", ""]
    text = "\n".join(lines)
    old = config.read_text() if config.exists() else ""
    settings = [line for line in lines if line and not line.startswith(("#", "["))]
    if all(setting in old.splitlines() for setting in settings):
        return
    ours = ("#", "[env]", "[build]", "LIBTORCH =", 'rustdocflags = ["-C", "link-arg=-Wl,-rpath,')
    if any(line and not line.startswith(ours) for line in old.splitlines()):
        raise Failure(f"{config} holds settings of your own. Set these in it, then try again:\n\n{text}")
    config.parent.mkdir(exist_ok=True)
    fresh = config.with_suffix(".toml.new")
    fresh.write_text(text)
    fresh.replace(config)


def quoted(text):
    """A TOML basic string."""
    return '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"libtorch: {failure}")
    except KeyboardInterrupt:
        sys.exit("libtorch: interrupted; nothing was left behind")
