#!/usr/bin/env bash
# The production binary is built as the Makefile's HARDEN, FORTIFY and LDFLAGS say, in every compile unit.
# Argument: the binary, not stripped.
set -u
export LC_ALL=C
binary=$1
bad=0

lacks() {
    echo "hardening: $binary $*"
    bad=$((bad + 1))
}
header=$(readelf -hW "$binary") || exit 1
segments=$(readelf -lW "$binary")
dynamic=$(readelf -dW "$binary")
symbols=$(readelf -W --dyn-syms "$binary")
units=$(readelf --debug-dump=info --dwarf-depth=1 "$binary" | grep DW_AT_producer)
has() { grep -qE -- "$2" <<<"$1"; }

if has "$symbols" ' __(asan|ubsan|tsan)_'; then
    echo 'hardening: not checked, this is a sanitized build'
    exit 0
fi

# ---- what the linker did ----
has "$dynamic" 'FLAGS_1.* PIE' || lacks 'is not position-independent (-pie)'
has "$segments" 'GNU_RELRO' || lacks 'has no read-only relocations (-z relro)'
has "$dynamic" 'BIND_NOW' || lacks 'binds functions late, so that its relocations stay writable (-z now)'
has "$segments" 'GNU_STACK.* RW ' || lacks 'has an executable stack (-z noexecstack)'
! has "$segments" 'LOAD.* RWE ' || lacks 'has a segment that is writable and executable'
! has "$dynamic" '\((RPATH|RUNPATH)\)' || lacks 'has a library path of its own (-rpath)'
! has "$dynamic" 'TEXTREL' || lacks 'has relocations in its code'
! unused=$(ldd -u "$binary" | grep '\.so') || lacks "names libraries that it does not use (--as-needed):" $unused

# ---- what the compiler did, unit by unit ----
flags='-fPIE -fstack-protector-strong -fstack-clash-protection'
case $header in
*X86-64*) flags+=' -fcf-protection=full' ;;
*AArch64*) flags+=' -mbranch-protection=standard' ;;
esac
[ -n "$units" ] || lacks 'is stripped: what its units were compiled with cannot be seen'
for flag in $flags; do
    without=$(grep DW_AT <<<"$units" | grep -vc -- " $flag")
    [ "$without" -eq 0 ] || lacks "has $without compile units without $flag"
done
# With FORTIFY the functions that take a format are all the checked ones; snprintf stays where its format is "%s".
has "$symbols" '__vsnprintf_chk' || lacks 'does not use the checked functions of the C library (-D_FORTIFY_SOURCE)'
! plain=$(grep -oE ' (printf|fprintf|vfprintf|vsnprintf|sprintf)@' <<<"$symbols") || lacks 'has units without -D_FORTIFY_SOURCE, which use' ${plain//@/}

[ "$bad" -eq 0 ] && echo "hardening: $(grep -c . <<<"$units") compile units"
[ "$bad" -eq 0 ]
