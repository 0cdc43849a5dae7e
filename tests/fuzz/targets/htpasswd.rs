//! Lists of users: no panic, a problem names its line and nothing of what stands in it, whoever is listed is known and
//! nobody else, and a password that is written as it is fits itself only.

use radiosonde::components::extensions::basicauth::htpasswd::Users;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let entries = lines.iter().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let users = match Users::read(&text) {
        Ok(users) => users,
        Err(problem) => {
            let number = problem
                .strip_prefix("line ")
                .and_then(|rest| rest.split([' ', ':']).next());
            let number: usize = number.and_then(|number| number.parse().ok()).expect("a line's number");
            let line = lines.get(number - 1).expect("a line of the list");
            let hash = line.split_once(':').map_or("", |(_, hash)| hash);
            // What is longer than any word of a message is none.
            assert!(hash.len() < 24 || !problem.contains(hash), "{problem}");
            return;
        }
    };
    let mut last = std::collections::BTreeMap::new();
    for line in entries {
        let (user, hash) = line.split_once(':').expect("else it is refused");
        last.insert(user, hash);
    }
    for (user, written) in &last {
        assert!(users.knows(user));
        let (hash, counts) = users.hash_of(user).expect("somebody is listed");
        assert!(counts);
        // Slow hashes are slow on purpose.
        if hash.is_slow() {
            continue;
        }
        let is_hash = ["{SHA}", "{SSHA}"].iter().any(|prefix| written.starts_with(prefix));
        assert_eq!(hash.fits(written), !is_hash, "{user}");
        assert!(!hash.fits(&format!("{written}x")));
    }
    let stranger = "nobody has this name\0";
    assert!(!users.knows(stranger));
    assert!(users.hash_of(stranger).is_none_or(|(_, counts)| !counts));
    assert_eq!(users.hash_of(stranger).is_none(), last.is_empty());
}
