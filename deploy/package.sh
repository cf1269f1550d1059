#!/bin/sh
# Builds a Debian package and a tarball of the programs, units, man pages and examples:
#   sh deploy/package.sh            builds the programs first, and writes to target/package
#   sh deploy/package.sh FOLDER     takes the programs in FOLDER
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
architecture=$(dpkg --print-architecture 2>/dev/null || uname -m)
if [ $# -ge 1 ]; then
    programs=$1
else
    cargo build --manifest-path "$root/Cargo.toml" --profile dist --locked \
        -p collector -p agent -p exhibit-audit
    programs=$target/dist
fi
out=$target/package
tree=$out/tree
rm -rf "$tree"
install -d "$tree/usr/bin" "$tree/usr/share/man/man1" "$tree/usr/share/doc/exhibit/examples" \
    "$tree/usr/share/bash-completion/completions" "$tree/lib/systemd/system" "$tree/usr/lib/sysusers.d"
for program in exhibit exhibit-agent exhibit-audit; do
    install -m 755 "$programs/$program" "$tree/usr/bin/$program"
done
"$tree/usr/bin/exhibit" man --out "$tree/usr/share/man/man1" 2>/dev/null ||
    rmdir "$tree/usr/share/man/man1" "$tree/usr/share/man"
"$tree/usr/bin/exhibit" completions bash \
    >"$tree/usr/share/bash-completion/completions/exhibit" 2>/dev/null ||
    rm -r "$tree/usr/share/bash-completion"
install -m 644 "$root/deploy/systemd/exhibit.service" "$tree/lib/systemd/system/"
install -m 644 "$root/deploy/systemd/sysusers.conf" "$tree/usr/lib/sysusers.d/exhibit.conf"
install -m 644 "$root/README.md" "$root/CHANGELOG.md" "$root/deploy/AUDIT.md" "$tree/usr/share/doc/exhibit/"
install -m 644 "$root/LICENSE" "$tree/usr/share/doc/exhibit/copyright"
cp -r "$root/deploy/exhibit.toml" "$root/deploy/client.toml" "$root/deploy/aws" \
    "$root/deploy/github" "$root/deploy/kubernetes" "$root/deploy/postgresql" \
    "$root/deploy/prometheus" "$root/deploy/grafana" "$tree/usr/share/doc/exhibit/examples/"

tarball=$out/exhibit-$version-$architecture.tar.gz
# The same content gives the same bytes.
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime='UTC 2026-01-01' \
    -C "$tree" -czf "$tarball" .
echo "$tarball"

if command -v dpkg-deb >/dev/null; then
    install -d "$tree/DEBIAN"
    cat >"$tree/DEBIAN/control" <<CONTROL
Package: exhibit
Version: $version
Architecture: $architecture
Maintainer: Exhibit <exhibit@localhost>
Depends: libc6, ca-certificates
Section: admin
Priority: optional
Description: captures volatile evidence of security incidents
 Captures what dies first when an incident is declared, seals it, and keeps its
 timeline, so that a stranger can check it years later.
CONTROL
    cat >"$tree/DEBIAN/postinst" <<'POSTINST'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    if command -v systemd-sysusers >/dev/null; then
        systemd-sysusers exhibit.conf
    elif ! getent passwd exhibit >/dev/null; then
        useradd --system --home-dir /var/lib/exhibit --shell /usr/sbin/nologin exhibit
    fi
    # Not started: it needs a configuration first.
    if [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
fi
POSTINST
    cat >"$tree/DEBIAN/prerm" <<'PRERM'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl stop exhibit.service || true
fi
PRERM
    chmod 755 "$tree/DEBIAN/postinst" "$tree/DEBIAN/prerm"
    package=$out/exhibit_${version}_$architecture.deb
    dpkg-deb --root-owner-group -Zgzip --build "$tree" "$package" >/dev/null
    rm -r "$tree/DEBIAN"
    echo "$package"
fi
