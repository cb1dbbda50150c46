use super::AffinityGroup;
/// tmp
pub fn group_text(_g: &AffinityGroup, _t: &str, _r: bool) -> String {
    String::new()
}
