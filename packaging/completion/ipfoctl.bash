# Completion of ipfoctl for bash. What there is to offer, ipfoctl itself says.

_ipfoctl() {
    local words current name
    # Bash splits words at colons, which IPv6 addresses have: the line is split anew.
    read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    COMPREPLY=()
    while IFS=$'\t' read -r name _; do
        case $name in
        :files) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
        :directories) compopt -o filenames && mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        # Bash puts a candidate in place of what comes after the last colon.
        *) COMPREPLY+=("${name#"${current%"${current##*:}"}"}") ;;
        esac
    done < <(ipfoctl _complete "${words[@]:1}" 2>/dev/null)
    return 0
}

complete -F _ipfoctl ipfoctl
