# Completion of ipfoctl for fish. What there is to offer, ipfoctl itself says.

function __ipfoctl_complete
    set --local words (commandline --current-process --tokenize --cut-at-cursor)
    set --local current (commandline --current-token --cut-at-cursor)
    for offered in (ipfoctl _complete $words[2..] "$current" 2>/dev/null)
        switch $offered
            case :files
                __fish_complete_path "$current"
            case :directories
                __fish_complete_directories "$current" ''
            case '*'
                echo $offered
        end
    end
end

complete --command ipfoctl --no-files --arguments '(__ipfoctl_complete)'
