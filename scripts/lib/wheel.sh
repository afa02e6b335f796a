# What a Python wheel carries, from the package index. Sourced after say.sh.

# fetch_wheel FOLDER NAME==VERSION SHA256: lays the wheel's content into FOLDER/wheel.
fetch_wheel() {
    local folder=$1 wheel=$2 sha256=$3 file
    if ! has python3 || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install python3-venv
    fi
    rm -rf "$folder/venv" "$folder/wheel"
    python3 -m venv "$folder/venv" ||
        die "python3 could not make a virtual environment, see above: \`apt-get install python3-venv\`"
    "$folder/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$folder/wheel" "$wheel" >&2 ||
        die "pip could not fetch $wheel, see above: it needs a package index"
    file=$(echo "$folder"/wheel/*.whl)
    [ "$(sha256sum "$file" | cut -d ' ' -f 1)" = "$sha256" ] ||
        die "$wheel is not the file that this script knows: expected SHA-256 $sha256"
    "$folder/venv/bin/python" -m zipfile -e "$file" "$folder/wheel"
    rm -rf "$folder/venv" "$file"
}
