//! vNPU templates: the parts into which the hardware can divide a chip, and the combinations that
//! fit.
//!
//! The machine's owner makes a part by name (`npu-smi set -t create-vnpu`, `dcmi_create_vdevice`)
//! before the chip is used; FCSP limits processes inside. This module only plans: it is pure and
//! knows no library. Its figures are those of the published lists; `npu-smi info -t template-info`
//! shows a machine's own.

/// A kind of part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Template {
    /// Its name.
    pub name: &'static str,
    /// AI cores.
    pub cores: u32,
    /// AI CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory: u64,
}

/// A chip that can be divided.
#[derive(Debug, Clone, Copy)]
pub struct Chip {
    /// Name by `aclrtGetSocName` and DCMI, without the beginning "Ascend".
    pub name: &'static str,
    /// AI cores.
    pub cores: u32,
    /// AI CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory: u64,
    /// Its templates, from the smallest.
    pub templates: &'static [Template],
}

const fn template(name: &'static str, cores: u32, cpus: u32, memory: u64) -> Template {
    Template {
        name,
        cores,
        cpus,
        memory,
    }
}

/// Chips whose templates are known.
pub const CHIPS: &[Chip] = &[
    Chip {
        name: "910B2",
        cores: 24,
        cpus: 6,
        memory: 65_536,
        templates: &[
            template("vir03_1c_8g", 3, 1, 8_192),
            template("vir06_1c_16g", 6, 1, 16_384),
            template("vir12_3c_32g", 12, 3, 32_768),
        ],
    },
    Chip {
        name: "910B3",
        cores: 20,
        cpus: 7,
        memory: 65_536,
        templates: &[
            template("vir05_1c_16g", 5, 1, 16_384),
            template("vir10_3c_32g", 10, 3, 32_768),
        ],
    },
    Chip {
        name: "910B4",
        cores: 20,
        cpus: 7,
        memory: 32_768,
        templates: &[
            template("vir05_1c_8g", 5, 1, 8_192),
            template("vir10_3c_16g", 10, 3, 16_384),
        ],
    },
    Chip {
        name: "310P3",
        cores: 8,
        cpus: 7,
        memory: 21_527,
        templates: &[
            template("vir01", 1, 1, 3_072),
            template("vir02", 2, 2, 6_144),
            template("vir04", 4, 4, 12_288),
        ],
    },
];

/// Finds the chip of a name, with or without "Ascend" before it.
pub fn chip(name: &str) -> Option<&'static Chip> {
    let name = name.strip_prefix("Ascend").unwrap_or(name);
    CHIPS.iter().find(|chip| chip.name == name)
}

/// Request for a part of a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Millionths of its cores.
    pub share: u64,
    /// Memory in MiB.
    pub memory: u64,
}

/// Reason why parts of one chip cannot meet the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// The wish at this place is larger than any template; it needs the whole chip.
    TooLarge(usize),
    /// Each fits, together they do not.
    TooMany,
}

impl Chip {
    /// Returns the smallest template that meets a request.
    pub fn smallest(&self, wish: Wish) -> Option<&'static Template> {
        self.templates.iter().find(|t| {
            u64::from(t.cores) * 1_000_000 >= u64::from(self.cores) * wish.share
                && t.memory >= wish.memory
        })
    }

    /// Returns true if parts of these templates fit on the chip at once.
    pub fn fit(&self, parts: &[&Template]) -> bool {
        parts.iter().map(|t| t.cores).sum::<u32>() <= self.cores
            && parts.iter().map(|t| t.cpus).sum::<u32>() <= self.cpus
            && parts.iter().map(|t| t.memory).sum::<u64>() <= self.memory
    }

    /// Returns a template for each request, in their order, that fit on the chip together.
    pub fn plan(&self, wishes: &[Wish]) -> Result<Vec<&'static Template>, Misfit> {
        let parts = wishes
            .iter()
            .enumerate()
            .map(|(at, wish)| self.smallest(*wish).ok_or(Misfit::TooLarge(at)))
            .collect::<Result<Vec<_>, _>>()?;
        // Each is the smallest that will do, so if these do not fit, none do.
        if self.fit(&parts) {
            Ok(parts)
        } else {
            Err(Misfit::TooMany)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(percent: u64, memory: u64) -> Wish {
        Wish {
            share: percent * 10_000,
            memory,
        }
    }

    #[test]
    fn templates_grow_and_each_fits_alone() {
        for chip in CHIPS {
            for pair in chip.templates.windows(2) {
                assert!(pair[0].cores < pair[1].cores && pair[0].memory < pair[1].memory);
                assert!(pair[0].cpus <= pair[1].cpus);
            }
            for t in chip.templates {
                assert!(chip.fit(&[t]), "{}", t.name);
            }
        }
        assert!(chip("Ascend910B3").is_some() && chip("310P3").is_some() && chip("H100").is_none());
    }

    #[test]
    fn the_smallest_that_will_do_is_taken() {
        let chip = chip("910B3").unwrap();
        let names = |wishes: &[Wish]| {
            chip.plan(wishes)
                .map(|parts| parts.iter().map(|t| t.name).collect::<Vec<_>>())
        };
        assert_eq!(
            names(&[wish(25, 8_000), wish(30, 8_000)]),
            Ok(vec!["vir05_1c_16g", "vir10_3c_32g"])
        );
        assert_eq!(
            names(&[wish(10, 20_000)]),
            Ok(vec!["vir10_3c_32g"]),
            "memory decides"
        );
        assert_eq!(names(&[wish(25, 1_000); 4]), Ok(vec!["vir05_1c_16g"; 4]));
        assert_eq!(names(&[wish(25, 1_000); 5]), Err(Misfit::TooMany));
        assert_eq!(
            names(&[wish(25, 1_000), wish(60, 1_000)]),
            Err(Misfit::TooLarge(1))
        );
    }

    #[test]
    fn cpus_bound_as_well() {
        // Two halves of a 310P3 by cores and memory, but eight CPUs of seven.
        let chip = chip("310P3").unwrap();
        let half = chip.smallest(wish(50, 10_000)).unwrap();
        assert_eq!(half.name, "vir04");
        assert!(!chip.fit(&[half, half]));
    }
}
