# Completion of noggin for fish: see noggin-completion(1).

function __noggin_complete
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l typed (commandline --current-token --cut-at-cursor)
    set -l program (string replace --regex '^~' $HOME -- $words[1])
    set --erase words[1]
    set -l flag (string match --regex -- '^-[^=]*=' $typed)
    for found in ($program complete -- $words "$typed" 2>/dev/null)
        switch $found
            case :file
                printf "$flag%s\n" (__fish_complete_path (string replace -- "$flag" '' "$typed"))
            case :folder
                printf "$flag%s\n" (__fish_complete_directories (string replace -- "$flag" '' "$typed"))
            case '*'
                printf '%s\n' $found
        end
    end
end

complete --command noggin --no-files --arguments '(__noggin_complete)'
