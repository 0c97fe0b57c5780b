# Completion of shoal for fish: what could be typed next is asked of `shoal __complete`, which says nothing when no
# manager answers.

function __shoal_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -e words[1]
    for answer in (command shoal __complete -- $words "$current" 2>/dev/null)
        switch $answer
            case ':files' ':folders'
                set -l option (string match -r -- '^--[^=]*=' "$current")
                set -l typed (string replace -r -- '^--[^=]*=' '' "$current")
                set -l find __fish_complete_path
                test $answer = ':files'; or set find __fish_complete_directories
                for path in ($find "$typed")
                    printf '%s\n' "$option$path"
                end
            case ':nospace'
                # fish adds no blank after a word that ends with =.
            case '*'
                printf '%s\n' $answer
        end
    end
end

complete -c shoal -f -a '(__shoal_complete)'
