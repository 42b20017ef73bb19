#!/bin/sh
# Install the torch of constraints.txt, in the build that suits this machine.
#
#   usage: tools/install_torch.sh PYTHON
#
#   macOS                          the package index's wheel (uses Metal)
#   Linux with an NVIDIA driver    the package index's wheel (brings CUDA, several GB)
#   Linux without one              the CPU build, 0.2 GB
#
# The CPU build is looked for where pip is configured to look (a mirror or a wheel folder may have
# it), then on PyTorch's own index. If that is out of reach, the package index's wheel is taken:
# larger than need be, but it works.
set -eu

python=$1
pin=$(sed -n 's/^\(torch==.*\)$/\1/p' "$(dirname "$0")/../constraints.txt")
cpu_index=https://download.pytorch.org/whl/cpu

install() {
    "$python" -m pip install --quiet "$@"
}

# Asked for once with a short limit, since pip itself would wait and try again for minutes.
in_reach() {
    "$python" -c "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)" \
        "$1/torch/" >/dev/null 2>&1
}

if [ "$(uname -s)" != Linux ] || nvidia-smi -L >/dev/null 2>&1; then
    install "$pin"
elif install --no-deps "$pin+cpu" 2>/dev/null; then
    :
elif in_reach "$cpu_index"; then
    install --no-deps --index-url "$cpu_index" "$pin+cpu"
else
    echo "No CPU build of $pin in reach; taking the package index's wheel, which may bring CUDA."
    install "$pin"
fi
