# Sourced by bin/flowllm and bin/test: makes .venv hold the locked packages, then returns.
#
# Contract: with $self the path of the calling script, `set_up NAME...` takes names of locks under
# bin/requirements (core, dev), adds those of FLOWLLM_EXTRAS, and returns with $root and $venv set and
# $venv/bin/python ready, or ends with one line.
# .venv/stamp holds copies of the installed locks and is written last: no stamp, no environment.
# POSIX sh only. Nothing but `cmp` and one subshell is started when the stamp matches.

PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
export PATH
known_extras='aws azure builder count export gcp genai genai-gpu gpu local'

fail() { # STATUS MESSAGE: ends with one plain line
    printf 'flowllm: %s\n' "$2" >&2
    exit "$1"
}

find_root() { # sets root, where the checkout is, from $self
    case $self in
        */*) root=$(CDPATH='' cd -P -- "${self%/*}/.." && pwd) ;;
        *) root=$(CDPATH='' cd -P -- .. && pwd) ;;
    esac
    venv=$root/.venv
    locks=$root/bin/requirements
    stamp=$venv/stamp
}

add_extras() { # appends the locks of FLOWLLM_EXTRAS (separated by commas or blanks) to wanted
    set -f
    for extra in $(printf '%s' "$FLOWLLM_EXTRAS" | tr ',' ' '); do
        case " $known_extras " in
            *" $extra "*) ;;
            *) fail 2 "FLOWLLM_EXTRAS: unknown extra '$extra'; known are: $known_extras" ;;
        esac
        [ -f "$locks/$extra.txt" ] ||
            fail 3 "extra $extra has no lock yet; install it with pip install 'flowllm-pipelines[$extra]'"
        wanted="$wanted $extra"
    done
    set +f
}

excludes() { # NAME OTHER...: ends where a wanted lock meets one that it cannot be installed with
    chosen=$1
    shift
    case " $wanted " in *" $chosen "*) ;; *) return 0 ;; esac
    for other in "$@"; do
        case " $wanted " in *" $other "*) fail 2 "$chosen and $other exclude each other; install one of them" ;; esac
    done
}

refuse_conflicts() { # onnxruntime and onnxruntime-gpu write over each other's files; the lock of export has older packages
    excludes gpu dev export genai local builder
    excludes genai-gpu dev export genai local builder
    excludes export dev count genai local builder
}

is_ready() { # true when .venv was completed here, by the interpreter asked for, and holds every wanted lock
    [ -x "$venv/bin/python" ] && [ -r "$stamp/root" ] || return 1
    if [ -n "${FLOWLLM_PYTHON:-}" ]; then
        [ -r "$stamp/python" ] && IFS= read -r built <"$stamp/python" && [ "$built" = "$FLOWLLM_PYTHON" ] || return 1
    fi
    IFS= read -r built <"$stamp/root" && [ "$built" = "$root" ] || return 1
    for lock in $wanted; do
        cmp -s "$locks/$lock.txt" "$stamp/$lock.txt" || return 1
    done
}

is_new_enough() { # whether $python runs and is 3.11 or newer
    "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() { # sets python to one that is new enough: the one asked for and no other, else any
    if [ -n "${FLOWLLM_PYTHON:-}" ]; then
        python=$(command -v "$FLOWLLM_PYTHON") && is_new_enough && return
        fail 3 "needs Python 3.11 or newer; FLOWLLM_PYTHON=$FLOWLLM_PYTHON is none"
    fi
    for name in python3 python3.13 python3.12 python3.11 python3.14 python; do
        python=$(command -v "$name") && is_new_enough && return
    done
    fail 3 'needs Python 3.11 or newer; none was found (set FLOWLLM_PYTHON=/path/to/python3)'
}

lock() { # one set-up at a time; the kernel lets go of file descriptor 9 however the holder ends
    exec 9>"$root/.venv.lock"
    "$python" -I -c '
import fcntl, sys
try:
    fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    print("flowllm: another set-up is running here, waiting for it", file=sys.stderr, flush=True)
    fcntl.flock(9, fcntl.LOCK_EX)
' || fail 3 "cannot lock $root/.venv.lock"
}

run_pip() { # pip of the environment, else the pip of the system on it
    if "$venv/bin/python" -I -c 'import pip' 2>/dev/null; then
        "$venv/bin/python" -I -m pip "$@"
    else
        "$python" -m pip --python "$venv/bin/python" "$@"
    fi
}

pip_setting() { # NAME: pip's configured value, as pip ranks it, lists separated by blanks
    for section in :env: install global; do
        value=$(printf '%s\n' "$pip_settings" | sed -n "s/^$section\.$1=['\"]\(.*\)['\"]\$/\1/p")
        [ -n "$value" ] && break
    done
    printf '%s' "$value" | sed 's/\\n/ /g'
}

hand_over() { # NAME VALUE: exports what is set
    [ -z "$2" ] || export "$1=$2"
}

configure_uv() { # uv reads no settings of pip: hand over indexes and certificates; hashes guard what comes
    pip_settings=$(run_pip config list 2>/dev/null)
    hand_over UV_DEFAULT_INDEX "${UV_DEFAULT_INDEX:-$(pip_setting index-url)}"
    hand_over UV_INDEX "${UV_INDEX:-$(pip_setting extra-index-url)}"
    hand_over UV_FIND_LINKS "${UV_FIND_LINKS:-$(pip_setting find-links | tr ' ' ',')}"
    hand_over UV_INSECURE_HOST "${UV_INSECURE_HOST:-$(pip_setting trusted-host)}"
    hand_over UV_NO_INDEX "${UV_NO_INDEX:-$(pip_setting no-index)}"
    hand_over SSL_CERT_FILE "${SSL_CERT_FILE:-$(pip_setting cert)}"
    hand_over HTTPS_PROXY "${HTTPS_PROXY:-${https_proxy:-$(pip_setting proxy)}}"
    export UV_SYSTEM_CERTS=1 UV_INDEX_STRATEGY=unsafe-best-match UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
}

make_venv() { # an empty environment, with pip where Python can give it one
    rm -f "$stamp/root" && rm -rf "$venv" 2>/dev/null || fail 3 "cannot replace $venv"
    if "$python" -I -c 'import ensurepip' 2>/dev/null; then
        "$python" -I -m venv "$venv" >/dev/null 2>&1 && return
    fi
    rm -rf "$venv"
    "$python" -I -m venv --without-pip "$venv" >/dev/null 2>&1 ||
        fail 3 "'$python -m venv' does not work here; on Debian and Ubuntu: apt install python3-venv"
    command -v uv >/dev/null || run_pip --version >/dev/null 2>&1 ||
        fail 3 "$python has neither ensurepip nor pip; on Debian and Ubuntu: apt install python3-venv"
}

install_locks() { # LOCK-OPTION...: the exact locked versions; uv first, else pip with the same hashes
    if run_pip install -q --require-hashes --only-binary :all: -r "$locks/uv.txt"; then
        uv=$venv/bin/uv
    else
        uv=$(command -v uv)
    fi
    if [ -n "$uv" ]; then
        (
            configure_uv
            "$uv" pip install -q --python "$venv/bin/python" --require-hashes -r "$locks/build.txt" &&
                "$uv" pip install -q --python "$venv/bin/python" --require-hashes --no-build-isolation "$@"
        ) && return
    fi
    run_pip install -q --require-hashes -r "$locks/build.txt" &&
        run_pip install -q --require-hashes --no-build-isolation "$@"
}

why_not() { # LOG: why packages were not installed, in one line
    if grep -qiE 'name resolution|name or service|connection (broken|refused|error|reset)|timed out|unreachable' "$1"; then
        printf 'the package index was not reached'
    else
        grep -i error "$1" | tail -n 1
    fi
}

build() { # .venv from nothing; an environment that had the development packages keeps them
    [ -w "$root" ] || fail 3 "$root is read-only, so .venv cannot be made; copy the checkout or use pip install"
    unset PIP_USER PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV PYTHONHOME VIRTUAL_ENV
    case " $wanted " in
        *' dev '* | *' gpu '* | *' genai-gpu '* | *' export '*) ;;
        *) [ ! -f "$stamp/dev.txt" ] || wanted="$wanted dev" ;;
    esac
    printf 'flowllm: setting up %s\n' "$venv" >&2
    make_venv
    set --
    for lock in $wanted; do set -- "$@" -r "$locks/$lock.txt"; done
    install_locks "$@" >"$venv/setup.log" 2>&1 </dev/null ||
        fail 3 "could not install the locked packages: $(why_not "$venv/setup.log") (all of it: $venv/setup.log)"
    "$venv/bin/python" -I -c '
import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "flowllm_checkout.pth").write_text(sys.argv[1] + "\n", "utf-8")
' "$root" || fail 3 "cannot write into $venv"
    mkdir "$stamp" || fail 3 "cannot write into $venv"
    for lock in $wanted; do cp "$locks/$lock.txt" "$stamp/" || fail 3 "cannot write into $stamp"; done
    printf '%s\n' "${FLOWLLM_PYTHON:-}" >"$stamp/python"
    printf '%s\n' "$root" >"$stamp/root"
}

set_up() { # NAME...: see the contract above
    find_root
    wanted=$*
    [ -z "${FLOWLLM_EXTRAS:-}" ] || add_extras
    refuse_conflicts
    is_ready && return
    find_python
    [ ! -w "$root" ] || lock
    is_ready || build
    exec 9>&-
}
